"""What a run's nodes read of each other, from the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from idp_tf.errors import IdpError
from pipelines.artifacts import Artifact
from pipelines.dag import Pipeline
from pipelines.record import ExecutionRow, ExecutionState, Record, RunRow
from pipelines.settings import PipelineSettings

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
    def artifacts(self) -> list[Artifact]:
        """All its outputs."""
        return [artifact for found in self.outputs.values() for artifact in found]

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


def settings_of(run: RunRow) -> PipelineSettings | None:
    """The settings of a run; None if they were written by another version, or by a test."""
    try:
        return PipelineSettings.model_validate_json(run.properties.get("settings", ""))
    except ValidationError:
        return None


def pipeline_of(run: RunRow, steps: Sequence[Step]) -> Pipeline | None:
    """The graph that a run went through, which the record lacks: from its settings, if it fits."""
    from pipelines.compose import compose

    settings = settings_of(run)
    try:
        pipeline = compose(settings) if settings else None
    except IdpError:
        return None
    known = {node.id for node in pipeline} if pipeline else set()
    return pipeline if all(step.node_id in known for step in steps) else None


def gates_of(pipeline: Pipeline | None, steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Pairs of a run's nodes, the second of which waited for the first and read nothing of it."""
    done = {step.node_id for step in steps}
    nodes = [node for node in pipeline or () if node.id in done]
    return [(gate, node.id) for node in nodes for gate in node.gates if gate in done]


def place_of(artifact: Artifact) -> str:
    """An artifact's folder below the root: the node, the output and the execution."""
    return "/".join(artifact.uri.parts[-3:])


def below(root: Path, path: Path) -> str:
    """A path as it is told: from the root if it lies there, the whole of it otherwise."""
    path, root = path.absolute(), root.absolute()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
