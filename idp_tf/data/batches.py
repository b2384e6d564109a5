"""Training batches: bucketed by length, with one sampled negative for each positive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from idp_tf.data.schema import PAD_ID
from idp_tf.data.sequences import LEAVE_OUT_TRAIN, Sequences
from idp_tf.data.stream import stream_batches
from idp_tf.data.training_negatives import Drawn, Negatives, build_sampler
from idp_tf.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

Batch = dict[str, npt.NDArray[Any]]


class TrainingBatches:
    """Batches of next-item prediction at every position, reproducible epoch by epoch.

    Epoch ``e`` depends on ``(seed, e)`` alone: which users meet in a batch, the order
    of batches, and the negatives, drawn anew for each epoch within the user's ``item_ranges``:
    one for each position is uniform and never an item of the user's training history, others are
    as their sampler says (``build_sampler``). Users with one training item have nothing to
    predict and are left out.

    Args:
        sequences: Whole sequences; the last two items of each are never shown.
        num_items: Items 1 … num_items.
        batch_size: Users in a batch.
        max_length: The most recent positions of a user that are trained on.
        seed: Seed of order and negatives.
        item_ranges: (num_users, 2), first and last item id that a user's negatives may
            have; all items if None. Merged domains give each user the own domain's.
        negatives: What positives are trained against (``build_sampler``); a loss says what it
            needs (``ItemLoss.negatives``).
        num_negatives: How many a user has, where it is not one a position.

    Raises:
        DataError: if no user can be trained on, or one has touched all items of the range.

    Example:
        >>> s = Sequences(np.array([1, 2, 3, 4, 5], np.int32), np.array([0, 5]))
        >>> batches = TrainingBatches(s, num_items=9, batch_size=2, max_length=4)
        >>> batch = next(batches.epoch(0))
        >>> batch["item_ids"], batch["positive_ids"]
        (array([[1, 2]], dtype=int32), array([[2, 3]], dtype=int32))
    """

    def __init__(
        self,
        sequences: Sequences,
        num_items: int,
        *,
        batch_size: int = 256,
        max_length: int = 50,
        seed: int = 0,
        item_ranges: npt.ArrayLike | None = None,
        negatives: Negatives = "position",
        num_negatives: int = 256,
    ):
        self.num_items = num_items
        self.batch_size = batch_size
        self.max_length = max_length
        self.seed = seed
        self._training = sequences.truncated(LEAVE_OUT_TRAIN)
        self._users = np.flatnonzero(self._training.lengths >= 2)
        if not len(self._users):
            raise DataError(
                "no user has two training items",
                remedy="training needs users with at least four interactions",
            )
        if item_ranges is None:
            ranges = np.tile([1, num_items], (sequences.num_users, 1))
        else:
            ranges = np.asarray(item_ranges, np.int64)
        self._sampler = build_sampler(negatives, self._training, num_items, ranges, num_negatives)
        self._buckets = self._bucket_users()

    @property
    def num_targets(self) -> int:
        """Positions that are trained on in one epoch."""
        lengths = self._training.lengths[self._users] - 1
        return int(np.minimum(lengths, self.max_length).sum())

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return sum(-(-len(users) // self.batch_size) for _, users in self._buckets)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch."""
        rng = np.random.default_rng((self.seed, epoch))
        drawn = self._sampler.epoch(rng)
        plan: list[tuple[int, npt.NDArray[np.int64]]] = []
        for length, users in self._buckets:
            shuffled = rng.permutation(users)
            starts = range(0, len(users), self.batch_size)
            plan += [(length, shuffled[i : i + self.batch_size]) for i in starts]
        for index in rng.permutation(len(plan)):
            length, users = plan[index]
            yield self._assemble(users, length, drawn)

    def dataset(
        self, first_epoch: int = 0, *, replicas: range = range(1), num_replicas: int = 1
    ) -> tf.data.Dataset:
        """An endless ``tf.data`` stream of epochs, for ``fit`` with ``steps_per_epoch``.

        Args:
            first_epoch: The epoch with which it begins, so that a resumed run goes on.
            replicas: Which replicas of a synchronous strategy it feeds: of each batch, their
                shares follow one another.
            num_replicas: How many replicas share a batch.
        """

        def stream() -> Iterator[Batch]:
            epoch = first_epoch
            while True:
                for batch in self.epoch(epoch):
                    for replica in replicas:
                        yield batch if num_replicas == 1 else _share(batch, replica, num_replicas)
                epoch += 1

        return stream_batches(stream, self.signature(), ahead=4)

    def signature(self) -> dict[str, tf.TensorSpec]:
        """What each array of a batch is."""
        import tensorflow as tf

        ids = tf.TensorSpec([None, None], tf.int32)
        return {"item_ids": ids, "positive_ids": ids, **self._sampler.signature()}

    def _bucket_users(self) -> list[tuple[int, npt.NDArray[np.int64]]]:
        lengths = np.minimum(self._training.lengths[self._users] - 1, self.max_length)
        edges = _choose_edges(lengths, self.batch_size)
        bucket = np.searchsorted(edges, lengths)
        return [(edge, self._users[bucket == b]) for b, edge in enumerate(edges)]

    def _assemble(self, users: npt.NDArray[np.int64], length: int, drawn: Drawn) -> Batch:
        item_ids = self._training.left_padded(users, length, leave_out=1)
        following = self._training.left_padded(users, length)
        positive_ids = np.where(item_ids == PAD_ID, PAD_ID, following)
        return {"item_ids": item_ids, "positive_ids": positive_ids, **drawn(users, positive_ids)}


def _share(batch: Batch, replica: int, num_replicas: int) -> Batch:
    """Every n-th user of a batch; where none is left, one of padding, who teaches nothing."""
    if replica < len(batch["item_ids"]):
        return {name: values[replica::num_replicas] for name, values in batch.items()}
    return {name: np.full_like(values[:1], PAD_ID) for name, values in batch.items()}


def _choose_edges(lengths: npt.NDArray[np.int64], batch_size: int) -> list[int]:
    """The longest length of each bucket, ascending.

    Where there are users enough, the lengths of a bucket differ by at most an eighth, so
    that little is padding; a bucket with less than a batch of users takes longer ones too.
    """
    counts = np.bincount(lengths)
    edges: list[int] = []
    users = shortest = longest = 0
    for length in np.flatnonzero(counts).tolist():
        if users >= batch_size and length * 8 > shortest * 9:
            edges.append(longest)
            users = 0
        if users == 0:
            shortest = length
        users += int(counts[length])
        longest = length
    return [*edges, longest]
