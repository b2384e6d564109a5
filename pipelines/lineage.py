"""What a run's nodes read of each other, from the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.artifacts import Artifact
from pipelines.record import ExecutionRow, ExecutionState, Record

WORDS = {
    ExecutionState.RUNNING: "running",
    ExecutionState.COMPLETE: "ran",
    ExecutionState.FAILED: "failed",
    ExecutionState.CACHED: "reused",
    ExecutionState.CANCELED: "canceled",
}


@dataclass(frozen=True)
class Step:
    """A node in a run.

    Args:
        execution: Its execution.
        made_by: The execution that made its outputs: the same, or an earlier one.
        inputs: What that one read.
        outputs: Its outputs.
    """

    execution: ExecutionRow
    made_by: ExecutionRow
    inputs: Mapping[str, Sequence[Artifact]]
    outputs: Mapping[str, Sequence[Artifact]]

    @property
    def node_id(self) -> str:
        """The node."""
        return self.execution.node_id

    @property
    def state(self) -> str:
        """In a word."""
        return WORDS[self.execution.state]

    @property
    def counters(self) -> Mapping[str, int]:
        """Rows and the like, as the executor counted them when it ran."""
        found: Mapping[str, int] = self.made_by.properties.get("counters", {})
        return found


def steps_of(record: Record, run: int) -> list[Step]:
    """The nodes of a run, in the order in which they were done."""
    steps = []
    for execution in record.executions(run):
        made_by = record.execution(execution.properties.get("of", execution.id))
        inputs, outputs = record.inputs(made_by.id), record.outputs(execution.id)
        steps.append(Step(execution, made_by, inputs, outputs))
    return steps


def edges_of(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Pairs of nodes, one of which read what the other made in this run."""
    made = {
        artifact.id: step.node_id
        for step in steps
        for artifacts in step.outputs.values()
        for artifact in artifacts
    }
    found = {
        (made[artifact.id], step.node_id)
        for step in steps
        for artifacts in step.inputs.values()
        for artifact in artifacts
        if artifact.id in made and made[artifact.id] != step.node_id
    }
    place = {step.node_id: number for number, step in enumerate(steps)}
    return sorted(found, key=lambda edge: (place[edge[0]], place[edge[1]]))
