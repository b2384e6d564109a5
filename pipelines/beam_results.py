"""What a pipeline that has finished has counted, and what it has left lying."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apache_beam.runners.runner import PipelineResult


def read_counters(result: PipelineResult, namespace: str) -> dict[str, int]:
    """A pipeline's own counters, for ``Execution.counters``.

    Runners give a counter once for each step that has it; a name stands for their sum here. Only
    attempts that succeeded count, so a lost worker changes nothing.

    Args:
        result: Of a pipeline that has finished.
        namespace: The first argument of ``Metrics.counter``.
    """
    from apache_beam.metrics.metric import MetricsFilter

    found: dict[str, int] = {}
    for counter in result.metrics().query(MetricsFilter().with_namespace(namespace))["counters"]:
        name = counter.key.metric.name
        found[name] = found.get(name, 0) + int(counter.result)
    return found


def remove_leftovers(folder: Path) -> None:
    """Removes Beam's own temporary folders, which a lost worker leaves behind.

    Beam's sinks write to ``beam-temp-<name>-<id>/`` beside their files, and remove that folder
    when they are done. On an engine that starts a step again there may be one for each attempt,
    and only the last is removed. Call it when the pipeline has finished.

    A step of ours that writes files itself must give each a name of its own, put it in place by
    ``os.replace``, and hand the name on: what an attempt wrote that failed stays, and only names
    that come out of the pipeline count.

    Args:
        folder: The artifact's folder, searched whole.
    """
    for left in list(folder.rglob("beam-temp-*")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
