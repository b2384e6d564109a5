"""Loading with retries, and unloading once nobody uses a version, each in threads.

Follows TF-Serving's ``core/loader_harness.cc``, ``core/basic_manager.cc`` and
``util/retrier.cc``.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Final, TypeVar

import grpc

from serving.server.loaded_model import LoadedModel, load_error
from serving.server.metrics import Metrics
from serving.server.options import ServerOptions
from serving.server.request_checks import RequestError
from serving.server.version_states import VersionStates
from serving.server.versions import STATES, Version

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

_INITIAL_THREADS: Final = 4 * (os.cpu_count() or 1)


class VersionLoader:
    """Loads and unloads versions, and publishes their states.

    Args:
        options: Threads, retries, sessions, warm-up.
        states: Where states are published.
        metrics: Told of warm-ups.
    """

    def __init__(self, options: ServerOptions, states: VersionStates, metrics: Metrics):
        self._options = options
        self._states = states
        self._metrics = metrics
        threads = max(_INITIAL_THREADS, options.num_load_threads + options.num_unload_threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="load")
        # Before a server answers there is nobody to be slowed: many versions load at once.
        self._loads: asyncio.Semaphore | None = asyncio.Semaphore(_INITIAL_THREADS)
        self._unloads = _limit(options.num_unload_threads)

    def end_initial_load(self) -> None:
        """From now on as many versions load at once as the options say."""
        self._loads = _limit(self._options.num_load_threads)

    def is_inline(self, version: Version) -> bool:
        """Whether all else must wait while this version loads, or unloads."""
        return (self._loads if version.state == STATES.START else self._unloads) is None

    async def load(self, version: Version) -> None:
        """Loads a version; a failure is its state, never an exception."""
        self._states.publish(version, STATES.LOADING)
        async with self._loads or nullcontext():
            outcome = await self._try_often(version)
        if isinstance(outcome, RequestError):
            self._states.publish(version, STATES.END, outcome)
        elif not version.aspired:
            await self._in_thread(outcome.close)
            cancelled = RequestError(grpc.StatusCode.CANCELLED, "Loading of servable cancelled")
            self._states.publish(version, STATES.END, cancelled)
        else:
            version.loaded = outcome
            self._states.publish(version, STATES.AVAILABLE)

    async def unload(self, version: Version) -> None:
        """Unloads a version when what uses it has ended; no new request gets it."""
        self._states.publish(version, STATES.UNLOADING)
        async with self._unloads or nullcontext():
            await version.unused()
            if version.loaded is not None:
                await self._in_thread(version.loaded.wait_for_runs)
            await self.free(version)

    async def free(self, version: Version) -> None:
        """Closes a version's session, whoever uses it."""
        model, version.loaded = version.loaded, None
        if model is not None:
            await self._in_thread(model.close)
        self._states.publish(version, STATES.END)

    def close(self) -> None:
        """Ends the threads; a load that runs in one is for nobody."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _try_often(self, version: Version) -> LoadedModel | RequestError:
        """The model, or the last attempt's error."""
        attempt = 0
        while True:
            try:
                return await self._in_thread(self._load_once, version)
            except Exception as error:
                # Anything may be wrong in a SavedModel; the other models must be served.
                failure = load_error(error)
            _LOG.error("Loading servable: %s failed: %s", version, failure)
            attempt += 1
            if attempt > self._options.max_num_load_retries or not version.aspired:
                return failure
            await asyncio.sleep(max(0, self._options.load_retry_interval_micros) / 1e6)
            _LOG.info("Retrying of Loading servable: %s retry: %d", version, attempt)

    def _load_once(self, version: Version) -> LoadedModel:
        model = LoadedModel(
            version.folder,
            self._options.session_threads,
            tags=self._options.saved_model_tags.split(","),
            warmup_iterations=self._options.warmup_iterations,
            batching=self._options.batching,
        )
        if model.warmup is not None:
            self._metrics.warmed_up(str(version.folder), *model.warmup)
        return model

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)


def _limit(threads: int) -> asyncio.Semaphore | None:
    return asyncio.Semaphore(threads) if threads else None
