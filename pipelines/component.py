"""What a component is: a typed contract, and the executor that keeps it.

A component says what it reads, what it writes and which parameters it has; ``execute`` does the
work for one execution. It knows nothing of the pipeline around it, of caching or of the record:
those are the launcher's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from pipelines.artifacts import Artifact, OutputArtifact


class Parameters(BaseModel):
    """Base of all components' parameters: typed, frozen, unknown names refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


P = TypeVar("P", bound=Parameters)


@dataclass
class Execution(Generic[P]):
    """One execution of a component, as its executor sees it.

    Args:
        node_id: The node's id, such as ``ExampleGen.office``; logs begin with it.
        inputs: The artifacts of each input, in the order in which they were wired; those of
            ``Component.resolved`` may be missing, and then stand for "nothing yet".
        outputs: The artifacts to make.
        parameters: The parameters.
        work: A folder that outlives a kill: the next execution with the same cache key finds
            in it what this one left. It is removed when the execution is done.
        beam_args: Options for Beam, such as ``--direct_num_workers=2``.
        counters: Figures for the record and the report: ``rows read``, ``rows dropped:
            <reason>``, ``users``, ``items``. The executor adds to them.
    """

    node_id: str
    inputs: Mapping[str, Sequence[Artifact]]
    outputs: Mapping[str, OutputArtifact]
    parameters: P
    work: Path
    beam_args: Sequence[str] = ()
    counters: dict[str, int] = field(default_factory=dict)

    def one(self, key: str) -> Artifact:
        """The only artifact of an input that has one."""
        (artifact,) = self.inputs[key]
        return artifact

    def maybe(self, key: str) -> Artifact | None:
        """The artifact of a resolved input, or None if the record has none yet."""
        return next(iter(self.inputs.get(key, ())), None)


class Component(ABC, Generic[P]):
    """A kind of step.

    Attributes:
        name: Its name, TFX's where TFX has it.
        version: Raised when the same inputs would make something else.
        inputs: Type of each input. Together with the parameters they decide what is made.
        resolved: Type of each input that is looked up in the record when the component runs,
            such as the last blessed model. They are no part of the cache key: a run in which
            nothing else has changed does nothing.
        compared: Keys of resolved inputs that a result stands and falls with: it is made again if
            another artifact has come in their place, unless that is one of its own inputs.
        optional: Keys of inputs that need not be wired.
        outputs: Type of each output.
        parameters: The class of its parameters.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    inputs: ClassVar[Mapping[str, str]] = {}
    resolved: ClassVar[Mapping[str, str]] = {}
    compared: ClassVar[frozenset[str]] = frozenset()
    optional: ClassVar[frozenset[str]] = frozenset()
    outputs: ClassVar[Mapping[str, str]]
    parameters: ClassVar[type[Parameters]] = Parameters

    @abstractmethod
    def execute(self, execution: Execution[P]) -> None:
        """Fills ``execution.outputs``.

        Raises:
            IdpError: if it cannot be done; nothing of it is kept but ``execution.work``.
        """

    def cache_inputs(self, parameters: P) -> Mapping[str, Any]:
        """What else decides the outcome, as JSON: the parameters, and digests of outside files.

        A component that reads files which are no artifacts (raw logs, a curated schema, a
        module file) overrides this and adds their digests; one with parameters that change
        nothing (how many workers) leaves those out.
        """
        return parameters.model_dump(mode="json")

    def fingerprint_of(self, parameters: P, key: str, artifact: Artifact) -> str:
        """What decides of an artifact that it reads, its fingerprint by default.

        A component that reads a part of what an artifact holds overrides this.

        Args:
            parameters: The parameters.
            key: The input.
            artifact: What it reads there.
        """
        return artifact.fingerprint

    def check(self, parameters: P) -> None:
        """Refuses at once what can be known before a run begins; reads no more than names.

        Raises:
            IdpError: if a file that is named is not there.
        """

    def undone(self, parameters: P, outputs: Mapping[str, Artifact]) -> str:
        """Why an earlier execution has to be repeated, though all that it read is as it was.

        A component that changes something outside of its artifacts (the Pusher, servers' folder)
        overrides this and says what is no longer as it left it; "" if all of it is.

        Args:
            parameters: The parameters.
            outputs: What the earlier execution made.
        """
        return ""
