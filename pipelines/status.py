"""What a run did, as tables: each node's state, time, figures and artifacts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from idp_tf.errors import WorkdirError
from pipelines.artifacts import PUSHED_MODEL
from pipelines.lineage import Step, place_of, steps_of
from pipelines.outcome import judged, pushing, verdict
from pipelines.record import ExecutionRow, ExecutionState, Record, RunRow

_FIGURES: Final = ("users", "items", "interactions", "records")
_MAIN: Final = (*_FIGURES, "epochs", "encoded", "generated", "errors", "warnings", "requests")
_DROPPED: Final = "rows dropped"
_COUNTED: Final = (ExecutionState.COMPLETE, ExecutionState.CACHED)


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


def show_status(
    root: Path, number: int | None = None, console: Console | None = None, *, paths: bool = False
) -> None:
    """Prints what a run did.

    Args:
        root: The pipeline's root.
        number: The run; the last one by default.
        console: Where to print.
        paths: Whether to print each artifact's folder too.

    Raises:
        WorkdirError: if there is no such run.
    """
    console = console or Console()
    with Record(root, read_only=True) as record:
        run = find_run(record, number)
        steps = steps_of(record, run.id)
    console.print(f"Run {run.id}, {when(run.began)}: {run.properties['state'].lower()}")
    console.print(_table(steps))
    if paths:
        console.print(f"Artifacts, below {root.absolute()}:", soft_wrap=True, highlight=False)
        for artifact in (a for step in steps for a in step.artifacts):
            console.print(f"  {place_of(artifact)}", soft_wrap=True, highlight=False, markup=False)
    if error := run.properties.get("error"):
        console.print(f"It ended with: {error}", style="red", markup=False, soft_wrap=True)
    for line in verdicts(steps) if run.properties["state"] != "RUNNING" else ():
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def show_history(root: Path, console: Console | None = None) -> None:
    """Prints all runs, the newest first."""
    columns = ("run", "began", "state", "ran", "reused", "pushed", "version")
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    with Record(root, read_only=True) as record:
        for run in reversed(record.runs()):
            executions = record.executions(run.id)
            states = [execution.state for execution in executions]
            table.add_row(
                str(run.id),
                when(run.began),
                run.properties["state"].lower(),
                *(str(states.count(state)) for state in _COUNTED),
                *_pushed(record, executions),
            )
    (console or Console()).print(table)


def rows_of(step: Step) -> dict[str, int]:
    """What a node counted, or what its artifacts say of rows."""
    if step.counters:
        return dict(step.counters)
    found: list[Any] = [artifact.properties for artifact in step.artifacts]
    return {name: row[name] for row in found for name in _FIGURES if name in row}


def main_figures(rows: dict[str, int]) -> dict[str, int]:
    """The few of them that fit into a line, and all dropped rows as one sum."""
    main = {name: number for name, number in rows.items() if name in _MAIN}
    dropped = sum(number for name, number in rows.items() if name.startswith(_DROPPED))
    return main | ({_DROPPED: dropped} if dropped else {})


def verdicts(steps: list[Step]) -> list[str]:
    """In words: what became of the model, and what did not pass."""
    lines = verdict(steps)
    for one in judged(steps):
        lines += [f"{one.node_id}: {line}" for line in one.failed if line not in lines]
    return lines


def when(seconds: float) -> str:
    """A time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))


def _table(steps: list[Step]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("node", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("figures")
    for step in steps:
        # A figure's name and its number stay together.
        told = [f"{name}\u00a0{n:,}" for name, n in main_figures(rows_of(step)).items()]
        table.add_row(step.node_id, step.state, _seconds(step), ", ".join(told))
    return table


def _pushed(record: Record, executions: list[ExecutionRow]) -> tuple[str, str]:
    """Whether a run pushed its model, and as which version."""
    last = executions[-1:]  # the Pusher, if the run came so far
    made = [(one, a) for one in last for (a, *_) in record.outputs(one.id).values()]
    for execution, artifact in made:
        if artifact.type == PUSHED_MODEL:
            word = pushing(artifact, reused=execution.state is ExecutionState.CACHED)
            version = artifact.properties.get("version")
            return {"pushed": "yes"}.get(word, word), str(version or "")
    return "", ""


def _seconds(step: Step) -> str:
    return "" if step.state == "reused" else f"{step.execution.seconds or 0:.1f}"
