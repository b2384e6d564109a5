"""serve: what ``idp-tf serve`` costs beside a bare Session call, and what batching saves.

The exact recommender over 100,000 items (SASRec, 64 wide, 2 layers, length 50, random
weights), exported as any other. Two servers, without and with batching by the export's own
parameters, are asked over loopback by a process of 1, 8, 32 and 64 clients; each client
waits for its answer before it asks again. Beside them a process calls ``Session.run`` on the
same SavedModel with the same histories, of one row and of as many as batches have. All take
turns, several rounds; CPU seconds are of the server's process alone, as the system counts
them. Ratios are those of one round, and their median is judged.
Then a server with batching answers 200,000 requests, and its memory must not grow. That one
has 10,000 items, to be done in minutes: what a request leaves behind has not to do with them.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.base import BenchResult, Goal, announced, run_worker
from benchmarks.serve_processes import Process, Server

K: Final = 10
THREADS: Final = (1, 1)
"""Of every session, within an op and between ops: threads that wait spin, which costs CPU."""

CPU_LIMIT: Final = 1.5
BATCHING_GAIN: Final = 2.0
GROWTH_MIB: Final = 8.0

Row = dict[str, Any]
_Key = tuple[str, bool, int]
"""Served or bare, with batching or without, clients or rows."""

_CPU: Final = "CPU ms a request"
_GROWTH: Final = "growth, MiB"


@dataclass(frozen=True)
class _Plan:
    """Sizes of a run.

    Args:
        items: Of the catalogue.
        few_items: Of the one over which memory is looked at.
        length: Of the longest history that the encoder reads.
        rounds: How often all take their turn.
        requests: Clients -> requests of a turn.
        calls: Rows of a bare call -> calls of a turn.
        settled: Requests after which memory is looked at first.
        endured: Requests after which it is looked at last.
    """

    items: int
    few_items: int
    length: int
    rounds: int
    requests: dict[int, int]
    calls: dict[int, int]
    settled: int
    endured: int


_FULL: Final = _Plan(
    items=100_000,
    few_items=10_000,
    length=50,
    rounds=3,
    requests={1: 200, 8: 300, 32: 500, 64: 500},
    calls={1: 200, 8: 20, 16: 10, 32: 10},
    settled=20_000,
    endured=200_000,
)
_SMOKE: Final = _Plan(
    items=200,
    few_items=100,
    length=5,
    rounds=1,
    requests={1: 4, 8: 16},
    calls={1: 4, 8: 2},
    settled=20,
    endured=40,
)


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Loads both servers and the bare session by turns, then one server for long."""
    del data
    plan = _SMOKE if smoke else _FULL
    with tempfile.TemporaryDirectory() as name:
        large, small = Path(name, "large"), Path(name, "small")
        for folder, items in ((large, plan.items), (small, plan.few_items)):
            sizes = {"folder": str(folder), "items": items, "length": plan.length}
            run_worker("benchmarks.serve_bare", sizes, threads=1, here=smoke)
        with announced("servers and session by turns"), ExitStack() as stack:
            sides = _Sides(large, stack)
            # The first round warms up.
            rounds = [sides.take_turns(plan) for _ in range(plan.rounds + 1)][1:]
        with announced(f"{plan.endured:,} requests to one server"):
            memory = _endure(small, plan)
    rows = [_middle([found[key] for found in rounds]) for key in rounds[0]]
    return BenchResult([*rows, memory], () if smoke else _judge(rounds, memory))


class _Sides:
    """A server without batching and one with it, the clients, and the bare session.

    Args:
        folder: What ``serve_bare.write_models`` left.
        stack: Ends the processes.
    """

    def __init__(self, folder: Path, stack: ExitStack):
        told = json.dumps({"folder": str(folder), "threads": THREADS})
        self._servers = {
            batching: stack.enter_context(Server(folder, batching=batching, threads=THREADS))
            for batching in (False, True)
        }
        self._clients = stack.enter_context(_clients(folder))
        self._bare = stack.enter_context(
            Process(["benchmarks.serve_bare", told], folder / "bare.log")
        )

    def take_turns(self, plan: _Plan) -> dict[_Key, Row]:
        """One round: every load and every bare call, those that are compared side by side."""
        found: dict[_Key, Row] = {}
        for clients, requests in plan.requests.items():
            for batching in self._servers:
                found["served", batching, clients] = self._load(batching, clients, requests)
            if clients == 1:
                for rows, calls in plan.calls.items():
                    found["bare", False, rows] = self._call(rows, calls)
        return found

    def _load(self, batching: bool, clients: int, requests: int) -> Row:
        server = self._servers[batching]
        before = server.cpu_seconds
        took = _load(self._clients, server, clients, requests)
        cpu = server.cpu_seconds - before
        return {
            "batching": "on" if batching else "off",
            "clients": clients,
            "requests a second": requests / took["seconds"],
            **{f"{name} ms": 1e3 * took[name] for name in ("p50", "p95", "p99")},
            _CPU: 1e3 * cpu / requests,
        }

    def _call(self, rows: int, calls: int) -> Row:
        cpu = self._bare.ask(rows=rows, calls=calls, k=K)["cpu"]
        return {"rows of a bare call": rows, _CPU: 1e3 * cpu / (calls * rows)}


def _endure(folder: Path, plan: _Plan) -> Row:
    """The memory of a server with batching, early and late."""
    clients = max(plan.requests)
    with (
        Server(folder, batching=True, threads=THREADS) as server,
        _clients(folder) as process,
    ):
        _load(process, server, clients, plan.settled)
        early = server.resident_mib
        took = _load(process, server, clients, plan.endured - plan.settled)
        late = server.resident_mib
    return {
        "items": plan.few_items,
        "clients": clients,
        "requests a second": (plan.endured - plan.settled) / took["seconds"],
        f"MiB after {plan.settled:,}": early,
        f"MiB after {plan.endured:,}": late,
        _GROWTH: late - early,
    }


def _clients(folder: Path) -> Process:
    return Process(["benchmarks.serve_load", str(folder)], folder / "clients.log")


def _load(process: Process, server: Server, clients: int, requests: int) -> Any:
    return process.ask(address=server.address, clients=clients, requests=requests, k=K)


def _middle(rows: list[Row]) -> Row:
    """The median of each figure over rounds."""
    return {
        name: median(row[name] for row in rows) if isinstance(value, float) else value
        for name, value in rows[0].items()
    }


def _judge(rounds: list[dict[_Key, Row]], memory: Row) -> list[Goal]:
    def ratio(above: _Key, below: _Key) -> float:
        return median(found[above][_CPU] / found[below][_CPU] for found in rounds)

    cost = ratio(("served", False, 1), ("bare", False, 1))
    gain = ratio(("served", False, 32), ("served", True, 32))
    growth = memory[_GROWTH]
    return [
        Goal(
            "server CPU a request at 1 client by the bare call's",
            f"at most {CPU_LIMIT}",
            cost,
            cost <= CPU_LIMIT,
        ),
        Goal(
            "requests a CPU second at 32 clients, with batching by without",
            f"at least {BATCHING_GAIN}",
            gain,
            gain >= BATCHING_GAIN,
        ),
        Goal(
            "growth of the server's memory, MiB",
            f"at most {GROWTH_MIB}",
            growth,
            growth <= GROWTH_MIB,
        ),
    ]
