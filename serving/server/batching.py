"""Request batching: the rows of several requests run as one call of the Session.

Follows TensorFlow's ``core/kernels/batching_util/shared_batch_scheduler.h`` and
TF-Serving's ``batching/batching_session.cc``: one queue for each model version, signature
and set of outputs; their batches run in turn on a fixed number of threads. Not as there:
requests whose clients are gone leave their batch, and one without rows is answered, where
TensorFlow lets it wait for others, or for ever.

The queues live in an event loop and are touched by nothing else, so they need no lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from serving.server.batch_arrays import (
    Arrays,
    count_rows,
    join_inputs,
    split_inputs,
    split_outputs,
)
from serving.server.batch_queue import Batch, BatchQueue, Task
from serving.server.batching_parameters import BatchingParameters
from serving.server.metrics import Metrics

Outputs = dict[str, npt.NDArray[Any]]


class Model(Protocol):
    """What is batched: see ``LoadedModel``."""

    @property
    def signatures(self) -> Any:
        """Signature key -> ``SignatureDef``."""

    def run(self, signature_key: str, arrays: Arrays, outputs: Sequence[str], /) -> Outputs:
        """Runs a signature; blocks."""


class _Key(NamedTuple):
    """What requests share that may share a batch."""

    model: Model
    signature_key: str
    outputs: tuple[str, ...]


class RequestBatcher:
    """Batches the requests of every model of a server.

    Use it in one event loop only, and ``close`` it there.

    Args:
        parameters: Sizes, timeout and threads.
        metrics: Told of each batch.

    Example:
        >>> async def answer(model, titles):
        ...     batcher = RequestBatcher(BatchingParameters(max_batch_size=32), Metrics())
        ...     return await batcher.run(model, "serving_default", {"titles": titles}, ["ids"])
    """

    def __init__(self, parameters: BatchingParameters, metrics: Metrics):
        self._parameters = parameters
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(
            parameters.num_batch_threads, thread_name_prefix=parameters.thread_pool_name
        )
        # Only queues in which something waits, so that a model that is gone is held by none.
        # The one that ran last stands last.
        self._queues: dict[_Key, BatchQueue] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def run(
        self,
        model: Model,
        signature_key: str,
        arrays: Arrays,
        outputs: Sequence[str],
    ) -> Outputs:
        """Runs a request as part of a batch; one that is cancelled while it waits never runs.

        Args:
            model: The version that answers.
            signature_key: The signature's key.
            arrays: Input name -> array (rows, ...), their types already checked.
            outputs: The outputs that are wanted.

        Returns:
            Output name -> array (rows, ...).

        Raises:
            RequestError: INVALID_ARGUMENT, if the inputs are no batch, or a larger one than
                is allowed; UNAVAILABLE, if the queue is full; FAILED_PRECONDITION, if inner
                shapes differ within the batch or the outputs are no batch; what the model
                raises.
        """
        rows = count_rows(arrays)
        key = _Key(model, signature_key, tuple(sorted(outputs)))
        queue = self._queues.get(key) or BatchQueue(self._parameters)
        sizes = queue.part_sizes(rows)
        self._queues[key] = queue
        answers = [
            self._enqueue(queue, part, size)
            for part, size in zip(split_inputs(arrays, sizes), sizes, strict=True)
        ]
        self._start_batches()
        try:
            parts = await asyncio.gather(*answers)
        finally:
            # If one part fails, the others are of no use.
            for answer in answers:
                answer.cancel()
        return _join_parts(parts, outputs)

    async def close(self) -> None:
        """Runs what waits, then frees the threads."""
        for queue in self._queues.values():
            queue.close()
        self._start_batches()
        while self._running:
            await asyncio.wait(self._running)
        self._pool.shutdown(wait=False)

    def _enqueue(self, queue: BatchQueue, arrays: Arrays, rows: int) -> asyncio.Future[Arrays]:
        loop = asyncio.get_running_loop()
        task = Task(arrays, rows, loop.create_future())
        started = queue.add(task)
        if started is not None:
            seconds = self._parameters.batch_timeout_micros / 1e6
            loop.call_later(seconds, self._let_run, started)
        return task.answer

    def _let_run(self, batch: Batch) -> None:
        batch.is_due = True
        self._start_batches()

    def _start_batches(self) -> None:
        """Gives each free thread a batch that is closed, full or due."""
        while len(self._running) < self._parameters.num_batch_threads:
            found = self._next_batch()
            if found is None:
                return
            running = asyncio.get_running_loop().create_task(self._answer(*found))
            self._running.add(running)
            running.add_done_callback(self._end_batch)

    def _end_batch(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        self._start_batches()

    def _next_batch(self) -> tuple[_Key, Batch] | None:
        for key, queue in self._queues.items():
            batch = queue.take()
            if batch is not None:
                del self._queues[key]
                if queue:
                    self._queues[key] = queue
                return key, batch
        return None

    def _count(self, tasks: Sequence[Task]) -> None:
        now, sizes = time.perf_counter(), [task.rows for task in tasks]
        self._metrics.batched(
            self._parameters.thread_pool_name,
            [now - task.since for task in tasks],
            sizes,
            self._parameters.padded_size(sum(sizes)) if any(sizes) else 0,
        )

    async def _answer(self, key: _Key, batch: Batch) -> None:
        tasks = [task for task in batch.tasks if not task.answer.done()]
        if not tasks:
            return
        self._count(tasks)
        try:
            answers = await asyncio.get_running_loop().run_in_executor(
                self._pool, _run_batch, key, [task.arrays for task in tasks], self._parameters
            )
        except Exception as error:
            for task in tasks:
                if not task.answer.done():
                    task.answer.set_exception(error)
            return
        for task, answer in zip(tasks, answers, strict=True):
            if not task.answer.done():
                task.answer.set_result(answer)


def run_alone(
    parameters: BatchingParameters,
    model: Model,
    signature_key: str,
    arrays: Arrays,
    outputs: Sequence[str],
) -> Outputs:
    """Runs a request as batches of its own, with their checks and padding; blocks.

    So a version's warm-up requests run, which in TF-Serving go through the batching session.

    Args:
        parameters: Sizes.
        model: The version that answers.
        signature_key: The signature's key.
        arrays: Input name -> array (rows, ...), their types already checked.
        outputs: The outputs that are wanted.

    Returns:
        Output name -> array (rows, ...).

    Raises:
        RequestError: as ``RequestBatcher.run``.
    """
    sizes = BatchQueue(parameters).part_sizes(count_rows(arrays))
    key = _Key(model, signature_key, tuple(outputs))
    parts = [_run_batch(key, [part], parameters)[0] for part in split_inputs(arrays, sizes)]
    return _join_parts(parts, outputs)


def _run_batch(
    key: _Key, requests: Sequence[Arrays], parameters: BatchingParameters
) -> list[Outputs]:
    """What each request of a batch gets; runs in a thread."""
    sizes = [count_rows(arrays) for arrays in requests]
    rows = sum(sizes)
    # No row can be repeated where there is none.
    padded = parameters.padded_size(rows) if rows else 0
    inputs = key.model.signatures[key.signature_key].inputs
    joined = join_inputs(
        requests,
        padded - rows,
        {name: info.name for name, info in inputs.items()},
        pad=parameters.pad_variable_length_inputs,
    )
    return split_outputs(key.model.run(key.signature_key, joined, key.outputs), sizes, padded)


def _join_parts(parts: Sequence[Arrays], outputs: Sequence[str]) -> Outputs:
    """The answer to a request from those to its parts."""
    if len(parts) == 1:
        return {name: parts[0][name] for name in outputs}
    return {name: np.concatenate([part[name] for part in parts]) for name in outputs}
