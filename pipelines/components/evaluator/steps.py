"""The steps of the Evaluator's Beam pipelines."""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.errors import requires_extra
from pipelines.components.evaluator.records import MIN_EVALUATED, decoded, known_ids, sequences
from pipelines.components.evaluator.sums import MetricSums, merged
from pipelines.components.evaluator.worker import Key, RankingJob, Worker, read_catalogue

with requires_extra("pipelines", purpose="the component Evaluator"):
    import apache_beam as beam
    import pyarrow as pa
    from apache_beam.metrics.metric import Metrics
    from apache_beam.utils.shared import Shared

NAMESPACE: Final = "Evaluator"
ROWS, INTERACTIONS = "rows read", "interactions"


class ItemsOfBatch(beam.DoFn):
    """Arrow batches of users -> the internal ids of all their items.

    Args:
        catalogue: A file of the items' ids.
    """

    def __init__(self, catalogue: str):
        self.catalogue = catalogue
        self._known: Any = None

    def setup(self) -> None:
        """Reads the ids once for each worker."""
        self._known = known_ids(read_catalogue(self.catalogue))

    def process(self, element: pa.RecordBatch) -> Iterator[npt.NDArray[np.int32]]:
        """One batch."""
        yield sequences(decoded(element, self._known)).values


class CountItems(beam.CombineFn):
    """Internal ids -> how often each stands there; an array of all items is held.

    Args:
        num_items: Items 1 … num_items.
    """

    def __init__(self, num_items: int):
        self.num_items = num_items

    def create_accumulator(self) -> npt.NDArray[np.int64]:
        """None yet."""
        return np.zeros(self.num_items + 1, np.int64)

    def add_input(
        self, mutable_accumulator: npt.NDArray[np.int64], element: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int64]:
        """Adds a batch."""
        return mutable_accumulator + np.bincount(element, minlength=self.num_items + 1)

    def merge_accumulators(
        self, accumulators: Iterable[npt.NDArray[np.int64]]
    ) -> npt.NDArray[np.int64]:
        """Adds counts."""
        return sum(accumulators, start=self.create_accumulator())

    def extract_output(self, accumulator: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The counts."""
        return accumulator


class SumMetrics(beam.CombineFn):
    """Ranks (users, systems) of a slice -> ``MetricSums``, the same bits in any order."""

    def create_accumulator(self) -> MetricSums | None:
        """None yet."""
        return None

    def add_input(
        self, mutable_accumulator: MetricSums | None, element: npt.NDArray[np.int32]
    ) -> MetricSums | None:
        """Adds some users."""
        return merged([mutable_accumulator, MetricSums.of(element)])

    def merge_accumulators(self, accumulators: Iterable[MetricSums | None]) -> MetricSums | None:
        """Adds sums."""
        return merged(accumulators)

    def extract_output(self, accumulator: MetricSums | None) -> MetricSums | None:
        """The sums."""
        return accumulator


class RankUsers(beam.DoFn):
    """Arrow batches of users -> for each slice with users in it, their ranks.

    Users of a bundle are gathered until there is a block of them, since batches come in
    whatever size the runner likes.

    Args:
        job: What is to be done.
    """

    def __init__(self, job: RankingJob):
        self.job = job
        self._shared = Shared()
        self._worker: Worker | None = None
        self._waiting: list[pa.Table] = []
        self._rows = Metrics.counter(NAMESPACE, ROWS)
        self._interactions = Metrics.counter(NAMESPACE, INTERACTIONS)

    def setup(self) -> None:
        """Loads the models, once for each worker process."""
        self._worker = self._shared.acquire(lambda: Worker.of(self.job))

    def start_bundle(self) -> None:
        """Begins with nobody; a bundle that failed may have left users."""
        self._waiting = []

    def process(self, element: pa.RecordBatch) -> Iterator[tuple[Key, npt.NDArray[np.int32]]]:
        """Takes a batch, and gives what full blocks there are."""
        assert self._worker is not None  # Beam calls setup first
        self._waiting.append(decoded(element, self._worker.known, MIN_EVALUATED))
        if sum(map(len, self._waiting)) >= self.job.block:
            yield from self._rank(whole_blocks=True)

    def finish_bundle(self) -> Iterator[Any]:
        """Gives the last users."""
        for found in self._rank(whole_blocks=False):
            yield beam.transforms.window.GlobalWindows.windowed_value_at_end_of_window(found)

    def _rank(self, *, whole_blocks: bool) -> Iterator[tuple[Key, npt.NDArray[np.int32]]]:
        assert self._worker is not None  # Beam calls setup first
        table, size = pa.concat_tables(self._waiting) if self._waiting else None, self.job.block
        self._waiting = []
        while table is not None and len(table) >= (size if whole_blocks else 1):
            block, table = table.slice(0, size), table.slice(size)
            self._rows.inc(len(block))
            users = sequences(block)
            self._interactions.inc(users.num_interactions)
            yield from self._worker.rank(block, users)
        if table is not None and len(table):
            self._waiting = [table]


class WriteWhole(beam.DoFn):
    """Bytes -> a file that appears whole; who writes it twice writes the same.

    Args:
        file: Its path, on a file system that all workers share.
    """

    def __init__(self, file: str):
        self.file = file

    def process(self, element: bytes) -> None:
        """Writes it."""
        partial = f"{self.file}.{uuid.uuid4().hex}.partial"
        Path(partial).write_bytes(element)
        os.replace(partial, self.file)


def npy_bytes(array: npt.NDArray[np.int64]) -> bytes:
    """An array as ``np.save`` writes it."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def sums_json(element: tuple[Key, MetricSums]) -> tuple[Key, dict[str, Any]]:
    """A slice's sums as JSON."""
    key, sums = element
    return key, sums.to_json()


def json_bytes(rows: Iterable[tuple[Key, dict[str, Any]]]) -> bytes:
    """All slices in their order."""
    return json.dumps(sorted(rows, key=lambda row: row[0])).encode()
