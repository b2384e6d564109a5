"""Ranks of a block of users by several models, by the definitions of ``idp_tf.evaluation``.

A *scope* is the items that are candidates, and the models that rank them:

* ``all`` holds every item of the domain. The model and its control rank them, and the baseline
  if it knows them all.
* ``shared`` is there where the baseline, trained on an earlier catalogue, does not: it holds
  the items that the baseline knows. The model and the baseline rank these, for the users whose
  test item is among them; unknown items of a history are left out of the baseline's input, as
  a server leaves them out.

Within a scope all models are given the same users, candidates and negatives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import LEAVE_OUT_TEST, Sequences
from idp_tf.evaluation import sample_negatives
from idp_tf.evaluation.negatives import flat_items
from idp_tf.evaluation.protocol import FULL, SAMPLED_PREFIX
from idp_tf.evaluation.ranking import (
    Candidates,
    Float32Array,
    Int32Array,
    Scorer,
    check_finite,
    full_ranks,
    sampled_ranks,
)

ALL: Final = "all"
SHARED: Final = "shared"

UInt64Array = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class ScopeItems:
    """The candidates of a scope, and who ranks them.

    Args:
        name: ``all`` or ``shared``.
        items: The candidates' external ids, in the domain's order.
        systems: The names of the models, the one that is judged first.
    """

    name: str
    items: Sequence[str]
    systems: Sequence[str]

    @property
    def is_whole(self) -> bool:
        """Whether the candidates are all items of the domain."""
        return self.name == ALL


def plan_scopes(catalogue: Sequence[str], baseline: IdMap | None) -> list[ScopeItems]:
    """The scopes of an evaluation; see the module.

    Args:
        catalogue: The domain's items.
        baseline: What the baseline knows; None without a baseline.
    """
    known = set(baseline.external_ids) if baseline is not None else set()
    shared = [item for item in catalogue if item in known]
    if baseline is not None and len(shared) == len(catalogue):
        return [ScopeItems(ALL, catalogue, ("model", "control", "baseline"))]
    everything = ScopeItems(ALL, catalogue, ("model", "control"))
    return [everything, *([ScopeItems(SHARED, shared, ("model", "baseline"))] if shared else [])]


@dataclass(frozen=True)
class _System:
    """A model within a scope.

    Args:
        scorer: The model over its own ids.
        own: Its id of each of the domain's items, 0 where it knows none; (num_items + 1,).
        vectors: Of the scope's items, row 0 padding.
        candidates: The same without padding, for full ranking.
    """

    scorer: Scorer
    own: Int32Array
    vectors: Float32Array
    candidates: Candidates


class ScopeRanker:
    """Ranks blocks of users within a scope.

    Args:
        scope: The scope.
        catalogue: The domain's items; sequences have their internal ids.
        scorers: Each model by its name, over its own ids.
        items: Each model's own items.
        negatives: Negatives a user.
        seed: Seed of the negatives.
        block: Every model is asked for this many users at once, rows of padding if need be: a
            product of other shape may round otherwise, and users fall into batches by chance.
    """

    def __init__(
        self,
        scope: ScopeItems,
        catalogue: IdMap,
        scorers: Mapping[str, Scorer],
        items: Mapping[str, IdMap],
        *,
        negatives: int,
        seed: int,
        block: int,
    ):
        self.scope = scope
        self._negatives = negatives
        self._seed = seed
        self._block = block
        inside = IdMap(scope.items)
        self._ids = _translation(catalogue.external_ids, inside)
        self._systems = [
            _system(scorers[name], scope.items, catalogue, items[name]) for name in scope.systems
        ]

    def rank(
        self, users: Sequences, keys: UInt64Array
    ) -> tuple[npt.NDArray[np.int64], dict[str, Int32Array]]:
        """Ranks the test items of at most a block of users.

        Args:
            users: Whole sequences in the domain's ids.
            keys: A hash of each user's id, by which negatives are drawn.

        Returns:
            Which of the users have a test item in the scope; and for each protocol their
            ranks, shape (those users, systems).
        """
        targets = self._ids[users.item_from_end(np.arange(users.num_users), LEAVE_OUT_TEST)]
        kept = np.flatnonzero(targets)
        inside = _translated(users, kept, self._ids)
        sampled, full = self._protocols()
        found = {
            name: np.zeros((len(kept), len(self._systems)), np.int32) for name in (sampled, full)
        }
        if not len(kept):
            return kept, found
        drawn = sample_negatives(
            inside, len(self.scope.items), self._negatives, self._seed, keys=keys[kept]
        )
        for column, system in enumerate(self._systems):
            vectors = self._encoded(system, _translated(users, kept, system.own))
            name = system.scorer.name
            found[sampled][:, column] = sampled_ranks(
                vectors[: len(kept)], system.vectors, targets[kept], drawn, system=name
            )
            found[full][:, column] = self._full(system, vectors, targets[kept], inside)
        return kept, found

    def _protocols(self) -> tuple[str, str]:
        return f"{SAMPLED_PREFIX}{self._negatives}", FULL

    def _encoded(self, system: _System, users: Sequences) -> Float32Array:
        """User vectors, a whole block of them; the last user fills it up."""
        history = users.left_padded(
            np.arange(users.num_users), system.scorer.max_length, LEAVE_OUT_TEST
        )
        missing = self._block - len(history)
        return system.scorer.user_vectors(np.pad(history, [(0, missing), (0, 0)], "edge"))

    def _full(
        self, system: _System, vectors: Float32Array, targets: Int32Array, inside: Sequences
    ) -> Int32Array:
        rows, seen = flat_items(inside, np.arange(inside.num_users), LEAVE_OUT_TEST)
        padded = np.pad(targets.astype(np.int64) - 1, (0, len(vectors) - len(targets)))
        ranks = full_ranks(
            vectors, system.candidates, padded, rows, seen - 1, system=system.scorer.name
        )
        return ranks[: len(targets)]


def _system(scorer: Scorer, scope: Sequence[str], catalogue: IdMap, items: IdMap) -> _System:
    rows = np.concatenate([[0], items.to_internal(scope)])
    vectors = np.ascontiguousarray(np.asarray(scorer.item_vectors, np.float32)[rows])
    check_finite(vectors, "item vectors", scorer.name)
    own = _translation(catalogue.external_ids, items)
    return _System(scorer, own, vectors, Candidates.of(vectors[1:]))


def _translation(external_ids: Sequence[str], into: IdMap) -> Int32Array:
    """From internal ids of ``external_ids``, padding included, to those of another map."""
    return np.concatenate([[0], into.to_internal(external_ids)]).astype(np.int32)


def _translated(users: Sequences, rows: npt.NDArray[np.int64], ids: Int32Array) -> Sequences:
    """Some users in other ids, without the items that have none."""
    owner, item = flat_items(users, rows)
    items = ids[item]
    lengths = np.bincount(owner[items > 0], minlength=len(rows))
    return Sequences(items[items > 0], np.concatenate([[0], np.cumsum(lengths)]))
