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
from pipelines.record import ExecutionRow, ExecutionState, Record, RunRow

_MARKS = {
    ExecutionState.RUNNING: "running",
    ExecutionState.COMPLETE: "ran",
    ExecutionState.FAILED: "failed",
    ExecutionState.CACHED: "reused",
    ExecutionState.CANCELED: "canceled",
}


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
    """
    console = console or Console()
    with Record(root, read_only=True) as record:
        run = find_run(record, number)
        console.print(f"Run {run.id}, {_when(run.began)}: {run.properties['state'].lower()}")
        console.print(_nodes_table(record, run))
        if "error" in run.properties:
            console.print(f"[red]{run.properties['error']}[/red]")
        for line in _verdicts(record, run):
            console.print(line, highlight=False)


def show_history(root: Path, console: Console | None = None) -> None:
    """Prints all runs, the newest first."""
    table = Table("run", "began", "state", "ran", "reused", "failed", "pushed", box=None)
    with Record(root, read_only=True) as record:
        for run in reversed(record.runs()):
            states = [execution.state for execution in record.executions(run.id)]
            table.add_row(
                str(run.id),
                _when(run.began),
                run.properties["state"].lower(),
                *(
                    str(states.count(state))
                    for state in (
                        ExecutionState.COMPLETE,
                        ExecutionState.CACHED,
                        ExecutionState.FAILED,
                    )
                ),
                {1: "yes", 0: "no"}.get(run.properties.get("pushed", -1), ""),
            )
    (console or Console()).print(table)


def _nodes_table(record: Record, run: RunRow) -> Table:
    table = Table("node", "state", "seconds", "rows", "artifacts", box=None)
    for execution in record.executions(run.id):
        outputs = record.outputs(execution.id)
        made = ", ".join(f"{key} {found[0].id}" for key, found in outputs.items())
        table.add_row(
            execution.node_id,
            _state(execution),
            "" if execution.state is ExecutionState.CACHED else f"{execution.seconds or 0:.1f}",
            _rows(execution, outputs),
            made,
        )
    return table


def _state(execution: ExecutionRow) -> str:
    mark = _MARKS[execution.state]
    if execution.state is ExecutionState.FAILED:
        return f"{mark}: {execution.properties.get('error', '').splitlines()[0][:60]}"
    return mark


def _rows(execution: ExecutionRow, outputs: dict[str, list[Artifact]]) -> str:
    counters: dict[str, Any] = execution.properties.get("counters", {})
    if not counters:
        names = ("users", "items", "interactions", "records")
        found = [artifact.properties for artifacts in outputs.values() for artifact in artifacts]
        counters = {name: row[name] for row in found for name in names if name in row}
    return ", ".join(f"{name} {number:,}" for name, number in counters.items())


def _verdicts(record: Record, run: RunRow) -> list[str]:
    """The reasons of whoever refused, and what was pushed."""
    lines = []
    for execution in record.executions(run.id):
        for artifacts in record.outputs(execution.id).values():
            for artifact in artifacts:
                lines += _told(artifact)
    return lines


def _told(artifact: Artifact) -> list[str]:
    pushed = artifact.uri / "pushed.json"
    if pushed.is_file():
        content = json.loads(pushed.read_text(encoding="utf-8"))
        return [f"{artifact.producer}: {content['outcome']}. {' '.join(content['why'])}"]
    reasons = artifact.uri / "reasons.json"
    if not reasons.is_file() or artifact.properties.get("blessed"):
        return []
    content = json.loads(reasons.read_text(encoding="utf-8"))
    failed = [check for check in content.get("checks", ()) if not check["passed"]]
    return [f"{artifact.producer}: {check['words']}" for check in failed]


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
