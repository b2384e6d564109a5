"""What is known of every version that ever was, and waiting for versions to be ready.

Follows TF-Serving's ``core/servable_state_monitor.cc``: versions that have ended are kept.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable
from typing import Any

import grpc

from serving.server.request_checks import RequestError
from serving.server.versions import STATES, Version

_LOG = logging.getLogger(__name__)


class VersionStates:
    """The latest state of each version, for the event loop that it is made in."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[int, Version]] = {}
        self._events = itertools.count(1)
        self._changed = asyncio.Event()

    def publish(self, version: Version, state: int, error: RequestError | None = None) -> None:
        """Gives a version a state, and tells those who wait."""
        version.state, version.error, version.event = state, error, next(self._events)
        self._versions.setdefault(version.model, {})[version.number] = version
        if error is not None:
            _LOG.error("%s cannot be served: %s", version, error)
        else:
            _LOG.info("%s: %s", version, STATES.State.Name(state))
        self._changed.set()
        self._changed = asyncio.Event()

    def now(self) -> int:
        """A moment, to be given to ``wait_until_available``."""
        return next(self._events)

    def is_available(self, name: str, number: int) -> bool:
        """Whether that version answers."""
        version = self._versions.get(name, {}).get(number)
        return version is not None and version.state == STATES.AVAILABLE

    def status(self, spec: Any) -> list[Version]:
        """The versions that a ``ModelSpec`` asks about, the highest first; a label says nothing.

        Raises:
            RequestError: NOT_FOUND.
        """
        versions = self._versions.get(spec.name, {})
        if not spec.HasField("version"):
            if versions:
                return [versions[number] for number in sorted(versions, reverse=True)]
            message = f"Could not find any versions of model {spec.name}"
        else:
            if spec.version.value in versions:
                return [versions[spec.version.value]]
            message = f"Could not find version {spec.version.value} of model {spec.name}"
        raise RequestError(grpc.StatusCode.NOT_FOUND, message)

    async def wait_until_available(self, names: Iterable[str], since: int, noun: str) -> None:
        """Waits until a version of each model answers, or has failed; for ever if there is none.

        Args:
            names: Models.
            since: What happened earlier does not count.
            noun: What an error calls the models.

        Raises:
            RequestError: UNKNOWN, if one has failed.
        """
        names = list(names)
        while None in (reached := [self._reached(name, since) for name in names]):
            await self._changed.wait()
        failed = [v for v in reached if v is not None and v.state != STATES.AVAILABLE]
        if failed:
            reasons = (f" due to error: {v.error}" if v.error else "" for v in failed)
            each = "".join(f"{{{v}{reason}}}, " for v, reason in zip(failed, reasons, strict=True))
            raise RequestError(
                grpc.StatusCode.UNKNOWN,
                f"{len(failed)} {noun} did not become available: {{{each}}}",
            )

    def _reached(self, name: str, since: int) -> Version | None:
        versions = self._versions.get(name, {})
        for number in sorted(versions, reverse=True):
            version = versions[number]
            if version.event > since and version.state in (STATES.AVAILABLE, STATES.END):
                return version
        return None
