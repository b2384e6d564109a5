"""What the record gives back: runs and executions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.record.schema import ExecutionState


@dataclass(frozen=True)
class ExecutionRow:
    """An execution as the record has it.

    Args:
        id: Its number.
        node_id: The node.
        component: The component's name.
        state: How it stands.
        began: Seconds since the epoch.
        ended: The same; None while it runs.
        properties: ``cache_key``, ``key`` (what it is made of), ``counters``, ``reason``,
            ``error``.
    """

    id: int
    node_id: str
    component: str
    state: ExecutionState
    began: float
    ended: float | None
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return None if self.ended is None else self.ended - self.began


@dataclass(frozen=True)
class RunRow:
    """A run as the record has it.

    Args:
        id: Its number.
        began: Seconds since the epoch.
        properties: ``state``, ``pipeline``, and what ``begin_run`` was given.
    """

    id: int
    began: float
    properties: Mapping[str, Any]
