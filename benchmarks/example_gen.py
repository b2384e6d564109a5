"""example-gen: logs of the paper's size become TFRecords in bounded memory.

The synthetic log of ``prepare``, a tenth of it and the whole, as CSV by days; ExampleGen on Beam's
own runner with two worker processes, which is what is documented for that size on one machine.
The peak counts the process that drives it and both workers, each at its own worst.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.base import BenchResult, Goal, run_worker
from benchmarks.prepare import write_log

WORKERS: Final = 2
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
                    "benchmarks.example_gen",
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


def measure(folder: str, workers: int = WORKERS) -> dict[str, Any]:
    """Runs ExampleGen, and tells the seconds and the peak."""
    from pipelines.artifacts import OutputArtifact
    from pipelines.component import Execution
    from pipelines.components.example_gen import ExampleGen, ExampleGenParameters

    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("pipelines").setLevel(logging.INFO)
    root, component = Path(folder), ExampleGen()
    outputs = {
        key: OutputArtifact(kind, root / "outputs" / key) for key, kind in component.outputs.items()
    }
    for output in outputs.values():
        output.uri.mkdir(parents=True)
    parameters = ExampleGenParameters(
        domain="shop",
        data=root / "shop",
        interactions=("logs/*.csv",),
        items=("items.csv",),
    )
    beam_args = [f"--direct_num_workers={workers}"]
    beam_args += ["--direct_running_mode=multi_processing"] if workers > 1 else []
    (root / "work").mkdir()
    execution = Execution("ExampleGen.shop", {}, outputs, parameters, root / "work", beam_args)
    begun = time.perf_counter()
    component.execute(execution)
    driver, worker = (
        resource.getrusage(who).ru_maxrss / 2**20
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {
        "interactions read": execution.counters["rows read: interactions"],
        "seconds": time.perf_counter() - begun,
        "CPU seconds": sum(
            usage.ru_utime + usage.ru_stime
            for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        ),
        "driver GiB": driver,
        "worker GiB": worker,
        "peak GiB": driver + workers * worker,
        **{what: execution.counters[what] for what in ("users", "items", "interactions")},
    }


def main(arguments: dict[str, Any]) -> Any:
    """The measurement, as ``run_worker`` calls it."""
    return measure(**arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
