"""What a run did, as tables: each node's state, time, rows and artifacts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from idp_tf.errors import WorkdirError
from pipelines.artifacts import Artifact
from pipelines.lineage import Step, steps_of
from pipelines.record import ExecutionState, Record, RunRow

_FIGURES = ("users", "items", "interactions", "records")
_COUNTED = (ExecutionState.COMPLETE, ExecutionState.CACHED, ExecutionState.FAILED)


def find_run(record: Record, number: int | None = None) -> RunRow:
    """A run by its number, or the last one.

    Raises:
        WorkdirError: if there is none.
    """
    runs = record.runs()
    found = [run for run in runs if number in (None, run.id)]
    if not found:
        known = f"there are 1 to {runs[-1].id}" if runs else "there are none"
        raise WorkdirError(f"there is no run {number or ''}; {known}", where=record.file)
    return found[-1]


def show_status(root: Path, number: int | None = None, console: Console | None = None) -> None:
    """Prints what a run did.

    Args:
        root: The pipeline's root.
        number: The run; the last one by default.
        console: Where to print.

    Raises:
        WorkdirError: if there is no such run.
    """
    console = console or Console()
    with Record(root, read_only=True) as record:
        run = find_run(record, number)
        steps = steps_of(record, run.id)
    console.print(f"Run {run.id}, {when(run.began)}: {run.properties['state'].lower()}")
    table = Table("node", "state", "seconds", "rows", "artifacts", box=None)
    for step in steps:
        made = ", ".join(f"{key} {found[0].id}" for key, found in step.outputs.items())
        table.add_row(step.node_id, step.state, _seconds(step), ", ".join(rows_of(step)), made)
    console.print(table)
    if error := run.properties.get("error"):
        console.print(f"It ended with: {error}", style="red", markup=False)
    for line in verdicts(steps):
        console.print(line, highlight=False, markup=False)


def show_history(root: Path, console: Console | None = None) -> None:
    """Prints all runs, the newest first."""
    table = Table("run", "began", "state", "ran", "reused", "failed", "pushed", box=None)
    with Record(root, read_only=True) as record:
        for run in reversed(record.runs()):
            states = [execution.state for execution in record.executions(run.id)]
            table.add_row(
                str(run.id),
                when(run.began),
                run.properties["state"].lower(),
                *(str(states.count(state)) for state in _COUNTED),
                {1: "yes", 0: "no"}.get(run.properties.get("pushed", -1), ""),
            )
    (console or Console()).print(table)


def rows_of(step: Step) -> list[str]:
    """What a node counted, or what its artifacts say of rows."""
    figures: dict[str, Any] = dict(step.counters)
    if not figures:
        found = [a.properties for artifacts in step.outputs.values() for a in artifacts]
        figures = {name: row[name] for row in found for name in _FIGURES if name in row}
    return [f"{name} {number:,}" for name, number in figures.items()]


def verdicts(steps: list[Step]) -> list[str]:
    """In words: what did not pass, and what became of the model."""
    return [
        line
        for step in steps
        for artifacts in step.outputs.values()
        for artifact in artifacts
        for line in _told(artifact)
    ]


def when(seconds: float) -> str:
    """A time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _told(artifact: Artifact) -> list[str]:
    pushed = artifact.uri / "pushed.json"
    if pushed.is_file():
        content = json.loads(pushed.read_text(encoding="utf-8"))
        return [f"{artifact.producer}: {content['outcome']}. {' '.join(content['why'])}"]
    reasons = artifact.uri / "reasons.json"
    if not reasons.is_file():
        return []
    content = json.loads(reasons.read_text(encoding="utf-8"))
    failed = [check["words"] for check in content["checks"] if not check["passed"]]
    return [f"{artifact.producer}: {words}" for words in failed]


def _seconds(step: Step) -> str:
    return "" if step.state == "reused" else f"{step.execution.seconds or 0:.1f}"
