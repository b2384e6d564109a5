"""What a positive item is trained against: none, one a position, or some a user."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from idp_tf.data.schema import PAD_ID
from idp_tf.data.sequences import Int32Array, Int64Array, Sequences
from idp_tf.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

Negatives = Literal["none", "position", "user", "popular"]

Drawn = Callable[[Int64Array, Int32Array], dict[str, npt.NDArray[Any]]]
"""From users (batch,) and their ``positive_ids`` (batch, length) to arrays of a batch."""


class NegativeSampler(Protocol):
    """Draws what one epoch's batches hold beside items and positives."""

    def epoch(self, rng: np.random.Generator) -> Drawn:
        """What makes the arrays of each batch of one epoch."""
        ...

    def signature(self) -> dict[str, tf.TensorSpec]:
        """What these arrays are."""
        ...


def build_sampler(
    negatives: Negatives,
    training: Sequences,
    num_items: int,
    ranges: Int64Array,
    num_negatives: int,
) -> NegativeSampler:
    """The sampler of a kind.

    Args:
        negatives: ``none``; ``position``: ``negative_ids`` (batch, length), one for each
            position, uniform over the user's range and never one of their training items;
            ``user``: ``sampled_ids`` (batch, n), uniform over the user's range, and
            ``num_candidates`` (batch,), the size of the range; ``popular``: ``sampled_ids``
            (batch, n), each item as often as it stands in the range's training items, with
            the logarithm of that share in ``sampled_log_q`` (batch, n), and the positives' in
            ``positive_log_q`` (batch, length).
        training: Training items of each user.
        num_items: Items 1 … num_items.
        ranges: First and last item that a user's negatives may have, (num_users, 2).
        num_negatives: n.
    """
    if negatives == "position":
        return _OneAPosition(training, num_items, ranges)
    if negatives == "user":
        return _UniformForUser(ranges, num_negatives)
    if negatives == "popular":
        return _PopularForUser(training, num_items, ranges, num_negatives)
    return _NoNegatives()


class _NoNegatives:
    def epoch(self, rng: np.random.Generator) -> Drawn:
        return lambda users, positive_ids: {}

    def signature(self) -> dict[str, tf.TensorSpec]:
        return {}


class _OneAPosition:
    def __init__(self, training: Sequences, num_items: int, ranges: Int64Array):
        self._training = training
        self._num_items = num_items
        self._owners = np.repeat(np.arange(training.num_users), training.lengths)
        self._low, self._high = ranges[self._owners, 0], ranges[self._owners, 1]
        self._touched = np.unique(self._key(self._owners, np.asarray(training.values)))
        self._check_ranges(ranges)

    def epoch(self, rng: np.random.Generator) -> Drawn:
        """Draws for every training item; a batch takes those of its users' last positions."""
        drawn = Sequences(self._draw(rng), self._training.offsets)

        def arrays(users: Int64Array, positive_ids: Int32Array) -> dict[str, Any]:
            negative_ids = drawn.left_padded(users, positive_ids.shape[1])
            return {"negative_ids": np.where(positive_ids == PAD_ID, PAD_ID, negative_ids)}

        return arrays

    def signature(self) -> dict[str, tf.TensorSpec]:
        import tensorflow as tf

        return {"negative_ids": tf.TensorSpec([None, None], tf.int32)}

    def _key(
        self, users: npt.NDArray[np.int64], items: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.int64]:
        return users.astype(np.int64) * (self._num_items + 1) + items

    def _check_ranges(self, ranges: npt.NDArray[np.int64]) -> None:
        distinct = np.bincount(self._touched // (self._num_items + 1), minlength=len(ranges))
        exhausted = np.flatnonzero(distinct >= ranges[:, 1] - ranges[:, 0] + 1)
        if len(exhausted):
            raise DataError(
                f"user {exhausted[0]} has touched all {distinct[exhausted[0]]} items that "
                "negatives are drawn from",
                remedy="a domain needs more items than its busiest user has touched",
            )

    def _draw(self, rng: np.random.Generator) -> npt.NDArray[np.int32]:
        negatives = rng.integers(self._low, self._high, endpoint=True)
        pending = np.arange(len(negatives))
        while len(pending):
            keys = self._key(self._owners[pending], negatives[pending])
            at = np.minimum(np.searchsorted(self._touched, keys), len(self._touched) - 1)
            pending = pending[self._touched[at] == keys]
            negatives[pending] = rng.integers(
                self._low[pending], self._high[pending], endpoint=True
            )
        return negatives.astype(np.int32)


class _UniformForUser:
    def __init__(self, ranges: Int64Array, num_negatives: int):
        self._ranges = ranges
        self._num_negatives = num_negatives

    def epoch(self, rng: np.random.Generator) -> Drawn:
        def arrays(users: Int64Array, positive_ids: Int32Array) -> dict[str, Any]:
            low, high = self._ranges[users, 0, None], self._ranges[users, 1, None]
            sampled = rng.integers(low, high, (len(users), self._num_negatives), endpoint=True)
            return {
                "sampled_ids": sampled.astype(np.int32),
                "num_candidates": (high - low + 1)[:, 0].astype(np.int32),
            }

        return arrays

    def signature(self) -> dict[str, tf.TensorSpec]:
        import tensorflow as tf

        return {
            "sampled_ids": tf.TensorSpec([None, self._num_negatives], tf.int32),
            "num_candidates": tf.TensorSpec([None], tf.int32),
        }


class _PopularForUser:
    def __init__(self, training: Sequences, num_items: int, ranges: Int64Array, num_negatives: int):
        counts = np.bincount(training.values, minlength=num_items + 1)
        # _below[i] is how many training items are of the items 0 … i - 1.
        self._below = np.concatenate([[0], np.cumsum(counts)])
        # Items that never occur are never drawn, nor are they positives.
        self._log_counts = np.log(np.maximum(counts, 1))
        self._ranges = ranges
        self._num_negatives = num_negatives

    def epoch(self, rng: np.random.Generator) -> Drawn:
        def arrays(users: Int64Array, positive_ids: Int32Array) -> dict[str, Any]:
            low, high = self._ranges[users, 0, None], self._ranges[users, 1, None]
            first, end = self._below[low], self._below[high + 1]
            drawn = rng.integers(first, end, (len(users), self._num_negatives))
            sampled = np.searchsorted(self._below, drawn, side="right") - 1
            total = np.log(end - first)
            real = positive_ids != PAD_ID
            return {
                "sampled_ids": sampled.astype(np.int32),
                "sampled_log_q": (self._log_counts[sampled] - total).astype(np.float32),
                "positive_log_q": np.where(real, self._log_counts[positive_ids] - total, 0).astype(
                    np.float32
                ),
            }

        return arrays

    def signature(self) -> dict[str, tf.TensorSpec]:
        import tensorflow as tf

        return {
            "sampled_ids": tf.TensorSpec([None, self._num_negatives], tf.int32),
            "sampled_log_q": tf.TensorSpec([None, self._num_negatives], tf.float32),
            "positive_log_q": tf.TensorSpec([None, None], tf.float32),
        }
