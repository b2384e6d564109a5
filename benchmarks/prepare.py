"""prepare: a log of the paper's size is made ready to train on one small machine.

14 million interactions of 1.1 million users with 730 thousand titled items (section 3.1),
synthetic, as CSV with text ids. Reading, filtering, ordering, coding and writing are timed in
a process of their own, and then, in another, what a training does first: loading what was
written and assembling one batch.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.base import BenchResult, Goal, run_worker

INTERACTIONS: Final = 14_000_000
USERS: Final = 1_100_000
ITEMS: Final = 730_000
MAX_SECONDS: Final = 180.0
MAX_GIB: Final = 4.0
MAX_SECONDS_AGAIN: Final = 20.0
_WORDS: Final = tuple(
    first + last
    for first in ("ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu")
    for last in ("der", "lin", "mon", "rat", "sel", "tor", "ves", "wyn")
)


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Writes the log, then prepares it and loads it again, two threads."""
    del data
    scale = 0.001 if smoke else 1.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder / "data" / "shop", scale)
        rows = [
            run_worker("benchmarks.prepare", {"folder": name, "what": what}, threads=2, here=smoke)
            for what in ("prepare", "load")
        ]
    prepared, loaded = rows
    return BenchResult(
        rows,
        [
            Goal(
                "minutes until ready to train",
                f"at most {MAX_SECONDS / 60:g}",
                prepared["seconds"] / 60,
                prepared["seconds"] <= MAX_SECONDS,
            ),
            Goal(
                "peak memory, GiB",
                f"at most {MAX_GIB:g}",
                max(row["peak GiB"] for row in rows),
                max(row["peak GiB"] for row in rows) <= MAX_GIB,
            ),
            Goal(
                "seconds to read it again",
                f"at most {MAX_SECONDS_AGAIN:g}",
                loaded["seconds"],
                loaded["seconds"] <= MAX_SECONDS_AGAIN,
            ),
        ],
    )


def write_log(folder: Path, scale: float, seed: int = 0, days: int = 0) -> None:
    """Writes ``interactions.csv`` and ``items.csv``; items are drawn by a power law.

    Args:
        folder: Where they are to lie.
        scale: Which part of the paper's size.
        seed: The seed.
        days: Instead of one file of interactions so many, ``logs/day-000.csv`` and so on, each
            with what happened in its time.
    """
    rng = np.random.default_rng(seed)
    interactions, users, items = (round(n * scale) for n in (INTERACTIONS, USERS, ITEMS))
    folder.mkdir(parents=True)
    # Every user has five, and the rest go to some more than to others.
    extra = interactions - 5 * users
    weights = rng.pareto(2.0, users) + 0.1
    counts = 5 + rng.multinomial(extra, weights / weights.sum())
    popularity = 1.0 / (np.arange(items) + 50.0) ** 0.7
    cumulative = np.cumsum(popularity / popularity.sum())
    chosen = np.searchsorted(cumulative, rng.random(interactions))
    frame = pl.DataFrame(
        {
            "user_id": np.repeat(rng.permutation(users), counts),
            "item_id": np.minimum(chosen, items - 1),
            "timestamp": rng.integers(1_000_000_000, 1_400_000_000, interactions),
        }
    )
    texts = (
        pl.format("A{}", "user_id").alias("user_id"),
        pl.format("B{}", "item_id").alias("item_id"),
    )
    if days:
        (folder / "logs").mkdir()
        slices = frame.sort("timestamp").iter_slices(-(-interactions // days))
        for day, part in enumerate(slices):
            part.select(*texts, "timestamp").write_csv(folder / "logs" / f"day-{day:03d}.csv")
    else:
        frame.select(*texts, "timestamp").write_csv(folder / "interactions.csv")
    words = np.array(_WORDS)[rng.integers(0, len(_WORDS), (items, 6))]
    titles = pl.DataFrame(words, schema=[f"w{i}" for i in range(6)])
    titles.select(
        pl.format("B{}", pl.int_range(pl.len())).alias("item_id"),
        pl.concat_str(pl.all(), separator=" ").alias("title"),
    ).write_csv(folder / "items.csv")


def measure(folder: str, what: str) -> dict[str, Any]:
    """Prepares the log, or loads what was prepared, and tells the seconds and the peak."""
    from idp_tf.data.batches import TrainingBatches
    from idp_tf.data.prepare import prepare_domain
    from idp_tf.data.readers import read_domain
    from idp_tf.data.store import load_domain, write_domain

    begun = time.perf_counter()
    prepared = Path(folder) / "prepared"
    if what == "prepare":
        domain = prepare_domain(read_domain(Path(folder) / "data", "shop"))
        write_domain(domain, prepared)
    else:
        domain = load_domain(prepared)
        next(TrainingBatches(domain.sequences, domain.num_items).epoch(0))
    return {
        "step": what,
        "seconds": time.perf_counter() - begun,
        "peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "interactions": domain.sequences.num_interactions,
        "users": domain.sequences.num_users,
        "items": domain.num_items,
    }


def main(arguments: dict[str, Any]) -> Any:
    """The measurement, as ``run_worker`` calls it."""
    return measure(**arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
