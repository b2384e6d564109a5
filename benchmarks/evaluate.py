"""evaluate: users a CPU second of both protocols, against RecBole's SASRec of the same shape.

ml-100k and toys, one thread each, the test item of each user. Weights are untrained, which
changes no time. RecBole evaluates with its trainer; its sampled protocol encodes a user again
for each candidate and is given 400 users. Ours counts the draw of the negatives and the
metrics too. The floor is the bare forward pass plus one matrix product with the item table.
Needs ``make bench-peers`` and the data.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.base import BenchResult, Goal, announced, run_worker
from benchmarks.domains import require_data, write_domains
from benchmarks.peers import require_peers, run_peer

DOMAINS: Final = ("ml-100k", "toys")
NEAR: Final = 1.25
"""Times the floor that still counts as the floor's time."""
_SAMPLED_USERS: Final = 400
_SAMPLED, _FULL = "sampled", "full"

Row = dict[str, Any]


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Measures both domains; a smoke run our side of the sample's target only."""
    require_data(data, smoke)
    if not smoke:
        require_peers("recbole")
    rows: list[Row] = []
    goals: list[Goal] = []
    for name in DOMAINS[: 1 if smoke else None]:
        with tempfile.TemporaryDirectory() as folder:
            users = write_domains(data, (name,), Path(folder)).sequences.num_users
            with announced(f"our evaluation of {name}"):
                seconds = run_worker(
                    "benchmarks.evaluate_ours",
                    {"folder": folder, "rounds": 1 if smoke else 5},
                    threads=1,
                    here=smoke,
                )
            ours = {way: users / value for way, value in seconds.items()}
            theirs = {} if smoke else _recbole(folder, name)
        rows += [_row(name, "ours", way, users, rate) for way, rate in ours.items()]
        rows += [
            _row(name, "RecBole", way, row["users"], row["users a second"])
            for way, row in theirs.items()
        ]
        if not smoke:
            goals += _goals(name, ours, {way: row["users a second"] for way, row in theirs.items()})
    return BenchResult(rows, goals)


def _recbole(folder: str, name: str) -> dict[str, Row]:
    arguments = {"step": "evaluate", "folder": folder, "threads": 1}
    with announced(f"RecBole's full ranking of {name}"):
        full = run_peer(
            "recbole_sasrec", {**arguments, "mode": "full", "users": None, "rounds": 3}, threads=1
        )
    with announced(f"RecBole's 99 negatives of {_SAMPLED_USERS} users of {name}"):
        sampled = run_peer(
            "recbole_sasrec",
            {**arguments, "mode": "uni99", "users": _SAMPLED_USERS, "rounds": 2},
            threads=1,
        )
    return {_FULL: full, _SAMPLED: sampled}


def _row(domain: str, system: str, protocol: str, users: int, rate: float) -> Row:
    return {
        "domain": domain,
        "system": system,
        "protocol": protocol,
        "users": users,
        "users a second": rate,
    }


def _goals(name: str, ours: dict[str, float], theirs: dict[str, float]) -> list[Goal]:
    full, sampled = ours[_FULL] / theirs[_FULL], ours[_SAMPLED] / theirs[_SAMPLED]
    floor = ours["floor"] / ours[_FULL]
    return [
        Goal(
            f"{name}: full ranking by RecBole's",
            f"at least 10, or at most {NEAR} times the floor's time",
            full,
            full >= 10 or floor <= NEAR,
        ),
        Goal(
            f"{name}: time of full ranking by the floor's",
            f"at most {NEAR}, or 10 times RecBole",
            floor,
            full >= 10 or floor <= NEAR,
        ),
        Goal(
            f"{name}: 99 negatives by RecBole's on {_SAMPLED_USERS} users",
            "at least 200",
            sampled,
            sampled >= 200,
        ),
    ]
