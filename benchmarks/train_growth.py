"""train-growth: a training step costs the same whatever the size of the catalogue.

The step is timed with ever larger item tables, the same shapes and batches of the same
size, the sizes taking turns so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.base import BenchResult, Curve, Goal, run_worker

SIZES: Final = (10_000, 100_000, 1_000_000)
LIMIT: Final = 1.15


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Times the step at 10,000, 100,000 and 1,000,000 items on one thread."""
    del data
    arguments = {
        "sizes": [1_000, 2_000] if smoke else SIZES,
        "batch_size": 16 if smoke else 256,
        "length": 10 if smoke else 50,
        "rounds": 2 if smoke else 15,
        "steps": 2 if smoke else 4,
    }
    seconds: dict[str, float] = run_worker(
        "benchmarks.train_growth", arguments, threads=1, here=smoke
    )
    smallest = next(iter(seconds.values()))
    rows = [
        {"items": int(size), "seconds a step": value, "ratio to the smallest": value / smallest}
        for size, value in seconds.items()
    ]
    ratio = float(rows[-1]["ratio to the smallest"])
    return BenchResult(
        rows,
        [
            Goal(
                "time of a step at 1,000,000 items by that at 10,000",
                f"at most {LIMIT}",
                ratio,
                ratio <= LIMIT,
            )
        ],
        curve=Curve("items", ("seconds a step",)),
    )


def measure(
    sizes: list[int], batch_size: int, length: int, rounds: int, steps: int
) -> dict[int, float]:
    """The median over rounds of the CPU seconds of one step, for each number of items."""
    functions = {size: build_training(size, batch_size, length, steps) for size in sizes}
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for turn in range(rounds + 1):
        for size, train in functions.items():
            begun = time.process_time()
            train()
            # The first round traces and warms up.
            if turn:
                seconds[size].append((time.process_time() - begun) / steps)
    return {size: float(np.median(values)) for size, values in seconds.items()}


def build_training(num_items: int, batch_size: int, length: int, steps: int) -> Callable[[], None]:
    """What trains a SASRec for so many steps each time it is called, on random full batches."""
    import tensorflow as tf

    from idp_tf.models import SASRec
    from idp_tf.optimizers import LazyAdam

    rng = np.random.default_rng(0)
    model = SASRec(num_items, max_length=length)
    model.compile(optimizer=LazyAdam(1e-3))
    step = model.make_train_function()
    batches = {
        name: rng.integers(1, num_items + 1, (steps, batch_size, length), dtype=np.int32)
        for name in ("item_ids", "positive_ids", "negative_ids")
    }
    iterator = iter(tf.data.Dataset.from_tensor_slices(batches).repeat())

    def train() -> None:
        for _ in range(steps):
            logs = step(iterator)
        float(logs["loss"])

    return train


def main(arguments: dict[str, Any]) -> Any:
    """The measurement, as ``run_worker`` calls it."""
    return measure(**arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
