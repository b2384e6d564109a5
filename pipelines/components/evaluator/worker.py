"""What a worker process of the ranking pipeline is told, and what it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from idp_tf.data.examples import USER_ID
from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from pipelines.components.evaluator.models import BASELINE
from pipelines.components.evaluator.ranking import ScopeItems, ScopeRanker, plan_scopes
from pipelines.components.evaluator.records import known_ids
from pipelines.components.evaluator.slicing import Slicer
from pipelines.model_files import ModelFiles

if TYPE_CHECKING:
    import pyarrow as pa

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


@dataclass(frozen=True)
class Worker:
    """What a worker process holds.

    Args:
        known: External ids, as ``records.decoded`` wants them.
        slicer: Assigns users to slices.
        rankers: One a scope.
    """

    known: Any
    slicer: Slicer
    rankers: Sequence[ScopeRanker] = field(repr=False)

    @classmethod
    def of(cls, job: RankingJob) -> Worker:
        """Loads what a job names."""
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
            known_ids(catalogue.external_ids),
            _slicer(job, catalogue, baseline),
            [ranker(scope) for scope in plan_scopes(catalogue.external_ids, baseline)],
        )

    def rank(
        self, block: pa.Table, users: Sequences
    ) -> Iterator[tuple[Key, npt.NDArray[np.int32]]]:
        """For each slice with users in it, their ranks by each scope and protocol.

        Args:
            block: Users as ``records.decoded`` gives them.
            users: Their sequences.
        """
        slices = list(self.slicer.slices(users))
        keys = user_keys(block)
        for ranker in self.rankers:
            kept, ranks = ranker.rank(users, keys)
            for found, members in slices:
                inside = members[kept]
                if inside.any():
                    for protocol, of_users in ranks.items():
                        yield (ranker.scope.name, protocol, *found), of_users[inside]


def read_catalogue(file: str) -> list[str]:
    """The ids of a JSON list."""
    ids: list[str] = json.loads(Path(file).read_text(encoding="utf-8"))
    return ids


def user_keys(block: pa.Table) -> npt.NDArray[np.uint64]:
    """A number for each user, from the id: the first 64 bits of its SHA-256."""
    digests = [hashlib.sha256(user).digest()[:8] for user in block[USER_ID].to_pylist()]
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def _slicer(job: RankingJob, catalogue: IdMap, baseline: IdMap | None) -> Slicer:
    known = None
    if baseline is not None:
        known = np.concatenate([[0], baseline.to_internal(catalogue.external_ids)]) > 0
    counts = np.load(job.counts)
    return Slicer(job.domain, counts, known, job.history_edges, job.popularity_edges)
