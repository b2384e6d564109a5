"""The models of a server: which versions are wanted, load, answer, and go.

Follows TF-Serving's ``core/aspired_versions_manager.cc`` and ``model_servers/server_core.cc``.
All of it happens in one event loop, but for what ``VersionLoader`` and the reading of folders
do in threads; so nothing here needs a lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from serving.server.config_checks import Labels, assign_labels, check_config
from serving.server.loaded_model import LoadedModel
from serving.server.metrics import Metrics
from serving.server.options import ServerOptions
from serving.server.request_checks import RequestError, invalid_argument
from serving.server.version_loader import VersionLoader
from serving.server.version_source import find_versions
from serving.server.version_states import VersionStates
from serving.server.versions import STATES, Version, next_to_load, next_to_unload

_LOG = logging.getLogger(__name__)


class ModelManager:
    """Keeps the versions that are wanted loaded, for the event loop that it is made in.

    Args:
        options: Polling, retries, threads, warm-up.
        metrics: Told of warm-ups.

    Example:
        >>> with manager.acquire(request.model_spec) as (version, model):  # doctest: +SKIP
        ...     outputs = model.run("", arrays, ["scores"])
    """

    def __init__(self, options: ServerOptions, metrics: Metrics):
        self._options = options
        self._allowed = Path(options.allowed_base_path) if options.allowed_base_path else None
        self._states = VersionStates()
        self._loader = VersionLoader(options, self._states, metrics)
        self._config: Any = None
        self._config_lock = asyncio.Lock()
        self._sources: Mapping[str, Any] = {}
        self._labels: Labels | None = None
        self._beside: set[Path] = set()
        self._managed: dict[str, dict[int, Version]] = {}
        self._pending: dict[str, dict[int, Path]] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._complaint = ""

    async def reload(self, config: Any, *, is_own: bool = False) -> None:
        """Serves what a ``ModelServerConfig`` lists, and no more; waits until new models answer.

        Args:
            config: The ``ModelServerConfig``.
            is_own: Whether who started the server wrote it. Another may add models from the
                folders in which those of such configs lie, or from ``allowed_base_path``.

        Raises:
            RequestError: as TF-Serving answers a config that it does not take, or a model of
                which no version can be loaded.
        """
        async with self._config_lock:
            if config.WhichOneof("config") is None:
                _LOG.info("Taking no action for empty config.")
                return
            first = self._config is None
            check_config(self._config, config, self._allowed_folders(is_own))
            self._config = config
            if is_own:
                self._beside |= {_folder_around(m) for m in config.model_config_list.config}
            self._labels = assign_labels(
                config,
                self._labels or {},
                self._states.is_available,
                allow_unavailable=self._options.allow_version_labels_for_unavailable_models,
            )
            added, since = self._change_sources(config), self._states.now()
            if first:
                self._start(self._manage())
                self._start(self._poll())
            await self._states.wait_until_available(
                added, since, "servable(s)" if first else "model(s)"
            )
            if first:
                self._loader.end_initial_load()

    @contextmanager
    def acquire(self, spec: Any) -> Iterator[tuple[int, LoadedModel]]:
        """The version and the model that a ``ModelSpec`` means; it is not unloaded meanwhile.

        Raises:
            RequestError: INVALID_ARGUMENT for no name or an unknown label, NOT_FOUND for a
                model or a version that does not answer.
        """
        version = self._find(spec)
        model = version.take()
        try:
            yield version.number, model
        finally:
            version.release()

    def status(self, spec: Any) -> list[Version]:
        """The versions that a ``ModelSpec`` asks about, the highest first.

        Raises:
            RequestError: NOT_FOUND.
        """
        return self._states.status(spec)

    async def close(self) -> None:
        """Unloads every version; requests that still run are broken off."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for versions in self._managed.values():
            for version in versions.values():
                if version.loaded is not None:
                    await self._loader.free(version)
        self._loader.close()

    def _find(self, spec: Any) -> Version:
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        wanted = self._wanted_version(spec)
        available = {
            number: version
            for number, version in self._managed.get(spec.name, {}).items()
            if version.state == STATES.AVAILABLE
        }
        number = max(available, default=None) if wanted is None else wanted
        if number is None or number not in available:
            name = f"Latest({spec.name})" if wanted is None else f"Specific({spec.name}, {wanted})"
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {name}")
        return available[number]

    def _wanted_version(self, spec: Any) -> int | None:
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            return None
        if choice == "version":
            return int(spec.version.value)
        if self._labels is None:
            raise RequestError(
                grpc.StatusCode.UNAVAILABLE, f"Model labels does not init yet.{spec.version_label}"
            )
        labels = self._labels.get(spec.name, {})
        if spec.version_label not in labels:
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        return labels[spec.version_label]

    def _allowed_folders(self, is_own: bool) -> Collection[Path] | None:
        """Where base paths may lie; None is anywhere."""
        if self._allowed is not None:
            return [self._allowed]
        return None if is_own else self._beside

    def _change_sources(self, config: Any) -> set[str]:
        """The models that are new; those that are gone are wanted in no version."""
        fresh = {model.name: model for model in config.model_config_list.config}
        added, gone = set(fresh) - set(self._sources), set(self._sources) - set(fresh)
        self._sources = fresh
        self._pending.update({name: {} for name in gone})
        self._wake.set()
        return added

    async def _poll(self) -> None:
        """Looks for versions, again and again or once (``file_system_poll_wait_seconds``)."""
        seconds = self._options.file_system_poll_wait_seconds
        if seconds < 0:
            return
        await self._poll_once()
        while seconds > 0:
            await asyncio.sleep(seconds)
            await self._poll_once()

    async def _poll_once(self) -> None:
        sources = self._sources
        try:
            found = await asyncio.to_thread(find_versions, sources, self._allowed)
        except OSError as error:
            self._complain(f"a base path cannot be read, so nothing changes: {error}")
            return
        if sources is not self._sources:
            # Another config came meanwhile; what it dropped must not come back.
            await self._poll_once()
            return
        empty = [f"{name} ({sources[name].base_path})" for name in found if not found[name]]
        self._complain(f"no versions are there to serve of {', '.join(empty)}" if empty else "")
        self._pending.update(found)
        self._wake.set()

    def _complain(self, message: str) -> None:
        """Once, not at every look."""
        if message and message != self._complaint:
            _LOG.warning(message)
        self._complaint = message

    async def _manage(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (work := self._next_work()) is not None:
                version, coroutine = work
                if self._loader.is_inline(version):
                    await coroutine
                else:
                    self._start(coroutine)
                    # Let it publish its state, else it would be next again.
                    await asyncio.sleep(0)

    def _next_work(self) -> tuple[Version, Coroutine[Any, Any, None]] | None:
        """One version to unload or, if none is, one to load."""
        self._forget()
        for name in [name for name in self._pending if not self._wants_back(name)]:
            self._aspire(name, self._pending.pop(name))
        models = [list(versions.values()) for versions in self._managed.values()]
        for versions in models:
            if (version := next_to_unload(versions)) is not None:
                return version, self._loader.unload(version)
        for versions in models:
            if (version := next_to_load(versions)) is not None:
                return version, self._loader.load(version)
        return None

    def _forget(self) -> None:
        """Drops versions that nobody wants and that hold nothing."""
        for name, versions in list(self._managed.items()):
            self._managed[name] = {
                number: version
                for number, version in versions.items()
                if version.aspired or version.state not in (STATES.START, STATES.END)
            }

    def _wants_back(self, name: str) -> bool:
        """Whether a version that is on its way out is wanted again: it has to be gone first."""
        managed = self._managed.get(name, {})
        return any(n in managed and not managed[n].aspired for n in self._pending[name])

    def _aspire(self, name: str, folders: Mapping[int, Path]) -> None:
        managed = self._managed.setdefault(name, {})
        for number, version in managed.items():
            version.aspired = version.aspired and number in folders
        for number in folders.keys() - managed.keys():
            managed[number] = Version(name, number, folders[number])
            self._states.publish(managed[number], STATES.START)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOG.critical("the versions are no longer looked after", exc_info=task.exception())
        self._wake.set()


def _folder_around(model: Any) -> Path:
    """Where a model lies among others; of one right below the root itself, not the root."""
    base = Path(model.base_path)
    return base if base.parent == Path(base.anchor) else base.parent
