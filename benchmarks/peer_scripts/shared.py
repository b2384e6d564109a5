"""What all sides are measured with: one clock; for indices one rule for a knob, too.

NumPy and the standard library only, so that the peers' interpreter can run it too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

BLOCK = 10_000
"""Queries between two looks at the clock."""

T = TypeVar("T")
Rows = npt.NDArray[Any]
Search = Callable[[npt.NDArray[np.float32]], Rows]


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What ``work`` gives, the seconds it took, and the seconds of the CPU.

    The CPU's tell more where the machine is shared; they count waiting threads that spin.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def read_table(folder: str, vectors: int) -> npt.NDArray[np.float32]:
    """The first so many vectors, in memory."""
    return np.ascontiguousarray(np.load(Path(folder) / "vectors.npy", mmap_mode="r")[:vectors])


def recall_of(found: Rows, exact: Rows) -> float:
    """The mean share of the exact rows (queries, k) that were found."""
    return float((exact[:, :, None] == found[:, None, :]).any(axis=2).mean())


def time_queries(search: Search, queries: npt.NDArray[np.float32], limit: float) -> dict[str, Any]:
    """Asks all queries, or as many as ``limit`` seconds allow, and gives the time of all.

    Returns:
        ``seconds for all`` on the wall and of the CPU, and how many were ``asked``: with
        fewer than all, both times are those of the asked ones, scaled up.
    """
    search(queries[:100])
    wall, cpu, asked = time.perf_counter(), time.process_time(), 0
    while asked < len(queries) and time.perf_counter() - wall < limit:
        asked += len(search(queries[asked : asked + BLOCK]))
    scale = len(queries) / asked
    return {
        "seconds for all": scale * (time.perf_counter() - wall),
        "CPU seconds for all": scale * (time.process_time() - cpu),
        "asked": asked,
    }


def time_build(build: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What ``build`` makes, and its seconds on the wall and of the CPU."""
    built, wall, cpu = timed(build)
    return built, {"build": wall, "CPU seconds of build": cpu}


def least_knob(recall: Callable[[int], float], wanted: float, first: int, last: int) -> int:
    """The least knob with the recall, to within an eighth; ``last`` if none has it."""
    high = first
    while recall(high) < wanted:
        if high >= last:
            return last
        high = min(2 * high, last)
    low = high // 2 if high > first else high
    while high - low > max(1, high // 8):
        middle = (low + high) // 2
        low, high = (low, middle) if recall(middle) >= wanted else (middle, high)
    return high


def measure_peer(
    build: Callable[..., Any],
    knob_of: Callable[[Any, int], Search],
    knob: tuple[str, int, int],
    arguments: dict[str, Any],
) -> dict[str, Any]:
    """Builds once, sets the knob (its name, first and last value) on a sample, asks all.

    Args:
        build: Vectors and threads -> an index and its description.
        knob_of: An index and a value of the knob -> how it is asked then.
        knob: The knob's name, and the values between which it is looked for.
        arguments: ``folder``, ``vectors``, ``sample``, ``recall``, ``threads`` and ``limit``.
    """
    folder, vectors = arguments["folder"], arguments["vectors"]
    table = read_table(folder, vectors)
    queries = np.load(Path(folder) / "queries.npy")
    exact = np.load(Path(folder) / f"exact-{vectors}.npy")
    (index, settings), times = time_build(lambda: build(table, arguments["threads"]))
    name, first, last = knob

    def reached(value: int) -> float:
        return recall_of(knob_of(index, value)(queries[: arguments["sample"]]), exact)

    chosen = least_knob(reached, arguments["recall"], first, min(last, vectors))
    return {
        **times,
        **time_queries(knob_of(index, chosen), queries, arguments["limit"]),
        "recall": reached(chosen),
        "settings": f"{settings}, {name}={chosen}",
    }


def run(
    build: Callable[..., Any], knob_of: Callable[[Any, int], Search], knob: tuple[str, int, int]
) -> None:
    """Measures with the arguments of the command line, and prints the row."""
    print(json.dumps(measure_peer(build, knob_of, knob, json.loads(sys.argv[1]))))
