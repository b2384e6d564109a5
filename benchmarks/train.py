"""train: SASRec (64 wide, 2 layers, 2 heads, length 50) against RecTools, RecBole, plain Keras.

(a) Targets a CPU second against RecTools, on ml-100k, one thread each. A target is a position
that something is learned from; both learn from the same ones. (b) CPU seconds to the validation
NDCG@10 that RecBole has after 2 epochs, both judged by our evaluation: all users, all items but
those of the user's training. (c) On the five source domains, two threads: targets a wall second
against tf_keras with dense Adam and the same length buckets, with the best NDCG@10 of both.
Needs ``make bench-peers`` and the data.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.base import BenchResult, Goal, announced, run_worker
from benchmarks.domains import SOURCES, Prepared, require_data, write_domains
from benchmarks.peers import require_peers, run_peer
from benchmarks.train_plain import OURS, PATIENCE, PLAIN

LOSSES: Final = {"BPR": "bpr", "CE": "cross-entropy"}
"""RecBole's losses, and ours that are the same; CE is RecBole's default."""
_TRIES: Final = {"BPR": ((32, 4e-3), (256, 1e-3)), "CE": ((32, 3e-3), (256, 1e-3))}
"""Users a batch and learning rate of ours in (b): the quickest of some on seeds 3 and 4, which
are measured on others, and the preset's."""
_MOST_EPOCHS: Final = 200
_ONE_DOMAIN: Final = "ml-100k"
_TURNS: Final = 3
_PLAIN_EPOCHS: Final = 40

Row = dict[str, Any]


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Measures all three; a smoke run measures our side and the baseline, on the sample."""
    require_data(data, smoke)
    if not smoke:
        require_peers("rectools", "recbole")
    with tempfile.TemporaryDirectory() as name:
        one, many = Path(name) / "one", Path(name) / "many"
        prepared = write_domains(data, (_ONE_DOMAIN,), one)
        write_domains(data, SOURCES, many)
        if smoke:
            _stand_in(one, prepared)
        parts = [_speed(one, smoke), _reach(one, smoke), _plain(many, smoke)]
    rows, goals, notes = (
        [entry for part in column for entry in part] for column in zip(*parts, strict=True)
    )
    return BenchResult(rows, goals, notes)


def _speed(folder: Path, smoke: bool) -> tuple[list[Row], list[Goal], list[str]]:
    """Part (a), taking turns; the best turn of each counts."""
    arguments = {"folder": str(folder), "epochs": 2 if smoke else 12}
    ours, theirs = [], []
    for _ in range(1 if smoke else _TURNS):
        with announced("our training"):
            ours.append(_ours({"step": "speed", **arguments}, smoke))
        for batch_size in () if smoke else (128, 256):
            with announced(f"RecTools, batches of {batch_size}"):
                found = run_peer(
                    "rectools_sasrec",
                    {**arguments, "batch_size": batch_size, "threads": 1},
                    threads=1,
                )
                theirs.append({"batch": batch_size, **found})
    best = max(ours, key=_rate)
    rows = [{"part": "a", "trainer": OURS, **best}]
    if smoke:
        return rows, [], []
    peer = max(theirs, key=_rate)
    rows.append({"part": "a", "trainer": f"RecTools, batches of {peer.pop('batch')}", **peer})
    ratio = _rate(best) / _rate(peer)
    return (
        rows,
        [
            Goal("(a) targets a CPU second by RecTools'", "at least 2", ratio, ratio >= 2),
            Goal("(a) targets a CPU second", "at least 50,000", _rate(best), _rate(best) >= 50_000),
        ],
        [],
    )


def _reach(folder: Path, smoke: bool) -> tuple[list[Row], list[Goal], list[str]]:
    """Part (b), against RecBole's training with each of its losses."""
    rows, goals = [], []
    for loss in LOSSES:
        if not smoke:
            with announced(f"RecBole, 2 epochs, {loss} (some minutes)"):
                theirs = run_peer("recbole_sasrec", _recbole(folder, loss), threads=1)
        tries = _TRIES[loss][: 1 if smoke else None]
        found = [_reach_ours(folder, *tried, LOSSES[loss], smoke) for tried in tries]
        rows += [
            {
                "part": "b",
                "trainer": f"{OURS}, {LOSSES[loss]}, {users} users a batch, rate {rate:g}",
                **ours,
            }
            for (users, rate), ours in zip(tries, found, strict=True)
        ]
        if not smoke:
            ours = found[0]
            theirs["ndcg@10"] = ours["ndcg@10 to reach"]
            rows.append({"part": "b", "trainer": f"RecBole, {loss}", **theirs})
            goals.append(_reach_goal(loss, ours, theirs))
    return rows, goals, []


def _reach_ours(folder: Path, batch_size: int, rate: float, loss: str, smoke: bool) -> Row:
    """The seed that takes the median time."""
    arguments = {"step": "reach", "folder": str(folder), "batch_size": batch_size, "loss": loss}
    arguments |= {"learning_rate": rate, "epochs": 2 if smoke else _MOST_EPOCHS}
    with announced(f"our training until its NDCG@10, {batch_size} users a batch, rate {rate:g}"):
        found = [_ours({**arguments, "seed": i}, smoke) for i in range(1 if smoke else _TURNS)]
    return sorted(found, key=lambda row: float(row["seconds"]))[len(found) // 2]


def _reach_goal(loss: str, ours: Row, theirs: Row) -> Goal:
    ratio = theirs["seconds"] / ours["seconds"]
    return Goal(
        f"(b) CPU seconds of RecBole's 2 epochs ({loss}) by ours to its NDCG@10",
        "at least 50, its NDCG@10 reached",
        ratio,
        bool(ours["reached"]) and ratio >= 50,
    )


def _plain(folder: Path, smoke: bool) -> tuple[list[Row], list[Goal], list[str]]:
    """Part (c); the median of the epochs of both but the first, which traces."""
    arguments = {"folder": str(folder), "epochs": 2 if smoke else _PLAIN_EPOCHS}
    with announced("our training and plain tf_keras, by turns"):
        found = run_worker("benchmarks.train_plain", arguments, threads=2, here=smoke)
    rows = [{"part": "c", **row} for row in found["rows"]]
    shared = [row for row in rows if 1 < row["epoch"] <= found["epochs of both"]]
    rate = {
        name: float(np.median([_rate(row) for row in shared if row["trainer"] == name]))
        for name in (OURS, PLAIN)
    }
    ratio, (low, high) = rate[OURS] / rate[PLAIN], found["interval"]
    return (
        rows,
        [
            Goal("(c) targets a second by plain tf_keras'", "at least 3", ratio, ratio >= 3),
            Goal(
                "(c) validation NDCG@10 of the best epoch, ours less plain tf_keras'",
                "at least 0",
                found["difference"],
                found["difference"] >= 0,
            ),
        ],
        [
            f"(c) {found['targets']:,} targets an epoch; medians {rate[OURS]:,.0f} and "
            f"{rate[PLAIN]:,.0f} a second; best epochs {found['best'][OURS]} and "
            f"{found['best'][PLAIN]}, of at most {_PLAIN_EPOCHS} with patience {PATIENCE}; the "
            f"difference of NDCG@10 over {found['users']:,} users has the 95 % interval "
            f"{low:.4f} … {high:.4f}."
        ],
    )


def _ours(arguments: Row, smoke: bool) -> Row:
    return dict(run_worker("benchmarks.train_ours", arguments, threads=1, here=smoke))


def _recbole(folder: Path, loss: str) -> Row:
    return {"step": "train", "folder": str(folder), "epochs": 2, "loss": loss, "threads": 1}


def _rate(row: Row) -> float:
    return float(row["targets a second"])


def _stand_in(folder: Path, prepared: Prepared) -> None:
    """For a smoke run, random vectors in place of what RecBole leaves."""
    rng = np.random.default_rng(0)
    for name, count in (
        ("users", prepared.sequences.num_users),
        ("items", prepared.num_items + 1),
    ):
        np.save(folder / f"{name}.npy", rng.standard_normal((count, 8), np.float32))
