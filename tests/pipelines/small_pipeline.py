"""A pipeline of components that add numbers, to try whatever runs a pipeline."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pipelines.artifacts import EMBEDDINGS, EXAMPLES, MODEL, digest_of
from pipelines.component import Component, Execution, Parameters
from pipelines.dag import Channel, Latest, Node, Pipeline

NUMBER = "number.txt"


class SourceParameters(Parameters):
    """A file with a number."""

    file: Path


class Source(Component[SourceParameters]):
    """Reads a number from a file outside of the pipeline."""

    name = "Source"
    outputs: ClassVar[Mapping[str, str]] = {"number": EXAMPLES}
    parameters = SourceParameters

    def execute(self, execution: Execution[SourceParameters]) -> None:
        text = execution.parameters.file.read_text()
        (execution.outputs["number"].uri / NUMBER).write_text(text)
        execution.counters["rows read"] = 1

    def cache_inputs(self, parameters: SourceParameters) -> Mapping[str, Any]:
        return {"digest": digest_of(parameters.file)}


class AddParameters(Parameters):
    """How much is added, and what goes wrong."""

    plus: int = 0
    error: OSError | Exception | None = None
    die_in: str = ""

    model_config = Parameters.model_config | {"arbitrary_types_allowed": True}


class Add(Component[AddParameters]):
    """Adds its numbers, and counts in ``calls`` how often it was called."""

    name = "Add"
    inputs: ClassVar[Mapping[str, str]] = {"numbers": EXAMPLES}
    resolved: ClassVar[Mapping[str, str]] = {"last": MODEL}
    outputs: ClassVar[Mapping[str, str]] = {"sum": MODEL, "twice": EMBEDDINGS}
    parameters = AddParameters

    def __init__(self, calls: Path):
        self.calls = calls

    def execute(self, execution: Execution[AddParameters]) -> None:
        with self.calls.open("a") as file:
            file.write(f"{execution.node_id}\n")
        (execution.work / "begun").touch()
        total = execution.parameters.plus + sum(
            int((artifact.uri / NUMBER).read_text()) for artifact in execution.inputs["numbers"]
        )
        (execution.outputs["sum"].uri / NUMBER).write_text(str(total))
        if execution.parameters.error is not None:
            raise execution.parameters.error
        (execution.outputs["twice"].uri / NUMBER).write_text(str(2 * total))
        last = execution.maybe("last")
        execution.outputs["sum"].properties["last"] = last.id if last else None

    def cache_inputs(self, parameters: AddParameters) -> Mapping[str, Any]:
        return {"plus": parameters.plus}


def build(
    folder: Path,
    *,
    plus: int = 0,
    error: Exception | None = None,
    sources: Sequence[str] = "ab",
    needed: bool = False,
) -> Pipeline:
    """Two sources whose numbers lie in ``folder``, and their sum."""
    nodes = [
        Node(f"Source.{name}", Source(), SourceParameters(file=folder / f"{name}.txt"))
        for name in sources
    ]
    add = Node(
        "Add",
        Add(folder / "calls.txt"),
        AddParameters(plus=plus, error=error),
        {"numbers": [Channel(f"Source.{name}", "number") for name in sources]},
        {"last": Latest("Add", "sum", needed=needed)},
    )
    return Pipeline([add, *nodes])


def write_numbers(folder: Path) -> Path:
    """The numbers of the sources ``a`` and ``b``; the folder."""
    for name, number in (("a", 1), ("b", 20)):
        (folder / f"{name}.txt").write_text(str(number))
    return folder


def calls(folder: Path) -> int:
    """How often the sum was computed."""
    file = folder / "calls.txt"
    return len(file.read_text().splitlines()) if file.is_file() else 0


def die(*_: object) -> None:
    """As a power cut does."""
    os.kill(os.getpid(), signal.SIGKILL)
