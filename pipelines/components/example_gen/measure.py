"""What ExampleGen takes over a synthetic log, in a process of its own, for ``idp-tf bench``."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from pathlib import Path
from typing import Any

from pipelines.artifacts import OutputArtifact
from pipelines.component import Execution
from pipelines.components.example_gen import ExampleGen, ExampleGenParameters


def measure(folder: str, workers: int = 2) -> dict[str, Any]:
    """Runs ExampleGen, and tells the seconds and the peak."""
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
