"""Which model a request is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

RECOMMENDER: Final = "recommender"
MATCHER: Final = "matcher"
COLD_START: Final = "cold_start"
"""Names under which this package exports."""


@dataclass(frozen=True)
class ModelSpec:
    """A model, and which of its versions; wherever a model is asked for, its name will do.

    Args:
        name: As the server knows it.
        version: A version's number; None is the latest, or the label's.
        label: A version's label, such as ``stable``.

    Raises:
        ValueError: if there are a version and a label.
    """

    name: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise ValueError(f"model {self.name}: give a version or a label, not both")

    def write_to(self, proto: Any, signature: str = "") -> None:
        """Fills a ``wire.ModelSpec``."""
        proto.name = self.name
        proto.signature_name = signature
        if self.version is not None:
            proto.version.value = self.version
        if self.label is not None:
            proto.version_label = self.label


def model_spec(model: str | ModelSpec) -> ModelSpec:
    """The spec of a name, or the spec itself."""
    return ModelSpec(model) if isinstance(model, str) else model
