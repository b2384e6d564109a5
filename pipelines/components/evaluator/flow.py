"""The Evaluator's two Beam pipelines: training counts of items, then ranks and their sums.

They meet in files, not in a side input: a runner would otherwise hold all that was read until
the counts are there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.data.examples import USER_ID
from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import requires_extra
from pipelines.beam_options import build_pipeline
from pipelines.components.evaluator.models import BASELINE
from pipelines.components.evaluator.ranking import ScopeItems, ScopeRanker, plan_scopes
from pipelines.components.evaluator.records import (
    MIN_EVALUATED,
    decoded,
    known_ids,
    sequences,
    source,
)
from pipelines.components.evaluator.slicing import Slice, Slicer
from pipelines.components.evaluator.sums import MetricSums, merged
from pipelines.model_files import ModelFiles

with requires_extra("pipelines", purpose="the component Evaluator"):
    import apache_beam as beam
    import pyarrow as pa
    from apache_beam.metrics.metric import Metrics, MetricsFilter
    from apache_beam.utils.shared import Shared

NAMESPACE: Final = "Evaluator"
ROWS, INTERACTIONS = "rows read", "interactions"

Key = tuple[str, str, str, str]
"""Scope, protocol, dimension and name of a slice."""


@dataclass(frozen=True)
class RankingJob:
    """What every worker is told; files are read where it runs.

    Args:
        examples: A glob pattern of the split ``eval``.
        catalogue: A file of the domain's item ids, a JSON list by internal id.
        counts: A file of the items' training counts, ``.npy`` by internal id.
        domain: The domain's name.
        models: The models, the one that is judged first.
        negatives: Negatives a user.
        seed: Their seed.
        block: Users that are ranked at once.
        history_edges: As in ``Slicer``.
        popularity_edges: As in ``Slicer``.
    """

    examples: str
    catalogue: str
    counts: str
    domain: str
    models: Sequence[ModelFiles]
    negatives: int
    seed: int
    block: int
    history_edges: Sequence[int]
    popularity_edges: Sequence[int]


def count_training(pattern: str, catalogue: str, file: Path, beam_args: Sequence[str]) -> None:
    """Writes how often each item stands in a split, (num_items + 1,) int64, as ``.npy``.

    A worker holds one Arrow batch and one such array.

    Args:
        pattern: The split's files.
        catalogue: A file of the items' ids, a JSON list.
        file: Where the counts go.
        beam_args: Beam's options.
    """
    with build_pipeline(beam_args) as pipeline:
        _ = (
            pipeline
            | "ReadTrain" >> source(pattern)
            | "Items" >> beam.ParDo(ItemsOfBatch(catalogue))
            | "Count" >> beam.CombineGlobally(CountItems(len(read_catalogue(catalogue))))
            | "Npy" >> beam.Map(npy_bytes)
            | "WriteCounts" >> beam.ParDo(WriteWhole(str(file)))
        )


def rank_users(job: RankingJob, file: Path, beam_args: Sequence[str]) -> dict[str, int]:
    """Ranks all users and writes the sums of each slice as JSON.

    A worker process holds the models, each with two tables of item vectors a scope, one Arrow
    batch, ``block`` users' scores of all items, and a few hundred sums. What passes between
    stages is one small matrix a block and slice, at most the ranks of its users.

    Args:
        job: What is to be done.
        file: Where the sums go.
        beam_args: Beam's options.

    Returns:
        Counters: ``rows read`` and ``interactions``.
    """
    pipeline = build_pipeline(beam_args)
    _ = (
        pipeline
        | "ReadEval" >> source(job.examples)
        | "Rank" >> beam.ParDo(RankUsers(job))
        | "Sum" >> beam.CombinePerKey(SumMetrics())
        | "Json" >> beam.Map(sums_json)
        | "Gather" >> beam.combiners.ToList()
        | "Text" >> beam.Map(json_bytes)
        | "WriteSums" >> beam.ParDo(WriteWhole(str(file)))
    )
    result = pipeline.run()
    result.wait_until_finish()
    found: Counter[str] = Counter()
    for counter in result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]:
        found[counter.key.metric.name] += int(counter.result)
    return dict(found)


def read_sums(file: Path) -> dict[Key, MetricSums]:
    """What ``rank_users`` wrote."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    return {tuple(key): MetricSums.from_json(content) for key, content in rows}


def read_catalogue(file: str) -> list[str]:
    """The ids of a JSON list."""
    ids: list[str] = json.loads(Path(file).read_text(encoding="utf-8"))
    return ids


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
        self._worker: _Worker | None = None
        self._waiting: list[pa.Table] = []
        self._rows = Metrics.counter(NAMESPACE, ROWS)
        self._interactions = Metrics.counter(NAMESPACE, INTERACTIONS)

    def setup(self) -> None:
        """Loads the models, once for each worker process."""
        self._worker = self._shared.acquire(lambda: _Worker.of(self.job))

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


@dataclass(frozen=True)
class _Worker:
    """What a worker process holds."""

    catalogue: IdMap
    known: Any
    slicer: Slicer
    rankers: Sequence[ScopeRanker] = field(repr=False)

    @classmethod
    def of(cls, job: RankingJob) -> _Worker:
        from idp_tf.evaluation import model_scorer
        from idp_tf.models import load_model

        catalogue = IdMap(read_catalogue(job.catalogue))
        items = {model.name: model.read_items() for model in job.models}
        scorers = {
            model.name: model_scorer(load_model(model.library), model.name) for model in job.models
        }
        baseline = items.get(BASELINE)

        def ranker(scope: ScopeItems) -> ScopeRanker:
            return ScopeRanker(
                scope,
                catalogue,
                scorers,
                items,
                negatives=job.negatives,
                seed=job.seed,
                block=job.block,
            )

        return cls(
            catalogue,
            known_ids(catalogue.external_ids),
            _slicer(job, catalogue, baseline),
            [ranker(scope) for scope in plan_scopes(catalogue.external_ids, baseline)],
        )

    def rank(
        self, block: pa.Table, users: Sequences
    ) -> Iterator[tuple[Key, npt.NDArray[np.int32]]]:
        slices = list(self.slicer.slices(users))
        keys = user_keys(block)
        for ranker in self.rankers:
            kept, ranks = ranker.rank(users, keys)
            for found, members in slices:
                inside = members[kept]
                if inside.any():
                    for protocol, of_users in ranks.items():
                        yield (ranker.scope.name, protocol, *found), of_users[inside]


def user_keys(block: pa.Table) -> npt.NDArray[np.uint64]:
    """A number for each user, from the id: the first 64 bits of its SHA-256."""
    digests = [hashlib.sha256(user).digest()[:8] for user in block[USER_ID].to_pylist()]
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


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


def _slicer(job: RankingJob, catalogue: IdMap, baseline: IdMap | None) -> Slicer:
    known = None
    if baseline is not None:
        known = np.concatenate([[0], baseline.to_internal(catalogue.external_ids)]) > 0
    counts = np.load(job.counts)
    return Slicer(job.domain, counts, known, job.history_edges, job.popularity_edges)


__all__ = [
    "RankingJob",
    "Slice",
    "count_training",
    "rank_users",
    "read_catalogue",
    "read_sums",
]
