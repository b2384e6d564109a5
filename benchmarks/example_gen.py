"""example-gen: logs of the paper's size become TFRecords in bounded memory.

The synthetic log of ``prepare``, a tenth of it and the whole, as CSV by days; ExampleGen on Beam's
own runner with two worker processes, which is what is documented for that size on one machine.
The peak counts the process that drives it and both workers, each at its own worst.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from benchmarks.base import BenchResult, Goal, run_worker
from benchmarks.prepare import write_log

WORKERS: Final = 2
_WORKER: Final = "pipelines.components.example_gen.measure"
"""By its name: rooms of one floor do not import each other."""
DAYS: Final = 28
MAX_GIB: Final = 6.0
MAX_GROWTH: Final = 3.0
"""How much more memory ten times the interactions may take."""


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Writes both logs, and runs ExampleGen over each in a process of its own."""
    del data
    rows = []
    for scale in (0.0005, 0.001) if smoke else (0.1, 1.0):
        with tempfile.TemporaryDirectory() as name:
            write_log(Path(name) / "shop", scale, days=DAYS)
            rows.append(
                run_worker(
                    _WORKER,
                    {"folder": name, "workers": 1 if smoke else WORKERS},
                    threads=WORKERS,
                    here=smoke,
                )
            )
    small, large = rows
    growth = large["peak GiB"] / small["peak GiB"]
    return BenchResult(
        rows,
        [
            Goal(
                "peak memory, GiB",
                f"at most {MAX_GIB:g}",
                large["peak GiB"],
                large["peak GiB"] <= MAX_GIB,
            ),
            Goal(
                "memory at ten times the size",
                f"at most {MAX_GROWTH:g} times",
                growth,
                growth <= MAX_GROWTH,
            ),
        ],
    )
