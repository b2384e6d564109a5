"""One version's life, and which of a model's versions is to be loaded or unloaded next.

Follows TF-Serving's ``core/loader_harness.cc`` and ``core/availability_preserving_policy.cc``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tensorflow_serving.apis import get_model_status_pb2

from serving.server.loaded_model import LoadedModel
from serving.server.request_checks import RequestError

STATES: Final = get_model_status_pb2.ModelVersionStatus
"""Holds the states START, LOADING, AVAILABLE, UNLOADING and END."""


@dataclass(eq=False)
class Version:
    """One version on its way START -> LOADING -> AVAILABLE -> UNLOADING -> END.

    A version that cannot be loaded ends at once, with an error.

    Args:
        model: The model's name.
        number: The version.
        folder: Where it lies.
    """

    model: str
    number: int
    folder: Path
    aspired: bool = True
    state: int = STATES.START
    error: RequestError | None = None
    loaded: LoadedModel | None = None
    event: int = 0
    users: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> LoadedModel:
        """Counts a request that begins; ``release`` must follow."""
        assert self.loaded is not None
        self.users += 1
        return self.loaded

    def release(self) -> None:
        """Counts a request that ends."""
        self.users -= 1
        self._idle.set()

    async def unused(self) -> None:
        """Waits until no request uses the version."""
        while self.users:
            self._idle.clear()
            await self._idle.wait()

    def __str__(self) -> str:
        """As TF-Serving writes a servable's id."""
        return f"{{name: {self.model} version: {self.number}}}"


def next_to_unload(versions: Iterable[Version]) -> Version | None:
    """The lowest available version that nobody wants, once one that is wanted is available.

    Where nothing is wanted any more, and of two unwanted versions the lower, too.
    """
    versions = list(versions)
    available = [version for version in versions if version.state == STATES.AVAILABLE]
    unwanted = [version for version in available if not version.aspired]
    nothing_wanted = not any(version.aspired for version in versions)
    replaced = any(version.aspired for version in available)
    if nothing_wanted or replaced or len(unwanted) > 1:
        return min(unwanted, key=lambda version: version.number, default=None)
    return None


def next_to_load(versions: Iterable[Version]) -> Version | None:
    """The highest wanted version that has not been tried."""
    fresh = (version for version in versions if version.aspired and version.state == STATES.START)
    return max(fresh, key=lambda version: version.number, default=None)
