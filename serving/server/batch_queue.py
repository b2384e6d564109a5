"""One queue of requests that may share a batch.

Follows the queue in TensorFlow's ``core/kernels/batching_util/shared_batch_scheduler.h``:
which request goes into which batch, and when the queue is full.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

import grpc

from serving.server.batch_arrays import Arrays
from serving.server.batching_parameters import BatchingParameters
from serving.server.request_checks import RequestError, invalid_argument


@dataclass(eq=False)
class Task:
    """A request, or the part of one that fits into a batch.

    Args:
        arrays: Input name -> array (rows, ...).
        rows: How many rows it has.
        answer: Is given the outputs, or an error; it is cancelled where nobody waits.
        since: ``time.perf_counter()`` when it began to wait.
    """

    arrays: Arrays
    rows: int
    answer: asyncio.Future[Arrays]
    since: float = field(default_factory=time.perf_counter)


@dataclass(eq=False)
class Batch:
    """Tasks that run together; ``is_due`` once its time is up."""

    tasks: list[Task] = field(default_factory=list)
    rows: int = 0
    is_due: bool = False


class BatchQueue:
    """The batches that wait: the last one is open, the others are closed.

    Args:
        parameters: Sizes and limits.
    """

    def __init__(self, parameters: BatchingParameters):
        self._parameters = parameters
        self._batches: deque[Batch] = deque([Batch()])

    def __len__(self) -> int:
        """How many tasks wait."""
        return sum(len(batch.tasks) for batch in self._batches)

    def part_sizes(self, rows: int) -> list[int]:
        """How a request is cut: into one, unless large ones may be split.

        Raises:
            RequestError: INVALID_ARGUMENT, if it is larger than any may be; UNAVAILABLE, if
                there is no room for it now.
        """
        most = self._parameters.max_batch_size
        if rows > most:
            raise invalid_argument(
                f"Task size {rows} is larger than maximum input batch size {most}"
            )
        if not self._parameters.enable_large_batch_splitting:
            self._check_room(rows)
            return [rows]
        self._check_room_for_parts(rows)
        limit = self._parameters.batch_limit
        first = min(rows, limit - self._batches[-1].rows or limit)
        full, last = divmod(rows - first, limit)
        return [first, *[limit] * full, *([last] if last else [])]

    def add(self, task: Task) -> Batch | None:
        """Puts a task at the end; returns the batch that it is the first of, if it is."""
        if self._batches[-1].rows + task.rows > self._parameters.batch_limit:
            self._batches.append(Batch())
        batch = self._batches[-1]
        batch.tasks.append(task)
        batch.rows += task.rows
        return batch if len(batch.tasks) == 1 else None

    def take(self) -> Batch | None:
        """The next batch that is closed, full or due."""
        first = self._batches[0]
        is_full = first.rows >= self._parameters.batch_limit
        if len(self._batches) == 1:
            if not is_full and not first.is_due:
                return None
            self._batches.append(Batch())
        return self._batches.popleft()

    def close(self) -> None:
        """Lets all run that waits."""
        if self._batches[-1].tasks:
            self._batches[-1].is_due = True

    def _check_room(self, rows: int) -> None:
        waiting, most = len(self._batches), self._parameters.max_enqueued_batches
        if self._batches[-1].rows + rows > self._parameters.max_batch_size and waiting >= most:
            raise RequestError(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{waiting} batches enqueued and max_enqueued_batches is {most}",
            )

    def _check_room_for_parts(self, rows: int) -> None:
        waiting, most = len(self._batches), self._parameters.max_enqueued_batches
        limit, open_rows = self._parameters.batch_limit, self._batches[-1].rows
        room = (most - waiting) * limit + limit - open_rows
        if rows > room:
            raise RequestError(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; task size "
                f"is {rows} but scheduling capacity is only {room} "
                f"(num_enqueued_batches={waiting}, max_enqueued_batches={most}, "
                f"open_batch_size={open_rows}, max_execution_batch_size={limit})",
            )
