"""Users' item sequences, stored flat, and the leave-one-out views of them.

A user's sequence is ``values[offsets[u]:offsets[u + 1]]``, oldest first. The
last item is the test target, the one before it the validation target, and
everything earlier is training (section 3.2). ``leave_out`` says how many of the
last items a view must not show: 2 for training and the validation input, 1 for
the test input, which holds the validation item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from idp_tf.data.schema import PAD_ID
from idp_tf.errors import DataError

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

LEAVE_OUT_TRAIN = 2
LEAVE_OUT_VALIDATION = 2
LEAVE_OUT_TEST = 1
MIN_LENGTH = 3
"""Least interactions of a user: one each to train, validate and test."""


@dataclass(frozen=True)
class Sequences:
    """Chronological item ids of many users, flat.

    Args:
        values: Internal item ids, shape (num_interactions,), int32.
        offsets: Where each user begins, shape (num_users + 1,), int64.

    Raises:
        DataError: if the offsets do not fit the values.

    Example:
        >>> s = Sequences(np.array([5, 6, 7, 8], np.int32), np.array([0, 4]))
        >>> s.left_padded([0], max_length=3, leave_out=2)
        array([[0, 5, 6]], dtype=int32)
        >>> s.item_from_end([0], 1)
        array([8], dtype=int32)
    """

    values: Int32Array
    offsets: Int64Array

    def __post_init__(self) -> None:
        if len(self.offsets) < 1 or self.offsets[0] != 0 or self.offsets[-1] != len(self.values):
            raise DataError("offsets must start at 0 and end at the number of values")

    @property
    def num_users(self) -> int:
        """The number of users."""
        return len(self.offsets) - 1

    @property
    def num_interactions(self) -> int:
        """The number of interactions of all users."""
        return len(self.values)

    @property
    def lengths(self) -> Int64Array:
        """Interactions of each user, shape (num_users,)."""
        return np.diff(self.offsets)

    def item_from_end(self, users: npt.ArrayLike, position: int | Int64Array) -> Int32Array:
        """The item at ``position`` from the end of each user, 1 being the last.

        Positions may differ, (len(users),).

        Raises:
            DataError: if a user has fewer items than that.
        """
        users = np.asarray(users, dtype=np.int64)
        index = self.offsets[users + 1] - position
        short = np.flatnonzero(index < self.offsets[users])
        if short.size:
            least = np.broadcast_to(position, index.shape)[short[0]]
            raise DataError(f"user {users[short[0]]} has fewer than {least} items")
        return np.asarray(self.values[index], dtype=np.int32)

    def left_padded(
        self, users: npt.ArrayLike, max_length: int, leave_out: int | Int64Array = 0
    ) -> Int32Array:
        """The last ``max_length`` items before the ``leave_out`` last ones.

        Users may differ in what is left out, (len(users),).

        Returns:
            Shape (len(users), max_length), int32, padded on the left with ``PAD_ID``.
        """
        users = np.asarray(users, dtype=np.int64)
        ends = self.offsets[users + 1] - leave_out
        index = ends[:, None] + np.arange(-max_length, 0)
        inside = index >= self.offsets[users][:, None]
        if self.num_interactions == 0:
            return np.full(index.shape, PAD_ID, np.int32)
        items = self.values[np.clip(index, 0, self.num_interactions - 1)]
        return np.where(inside, items, PAD_ID).astype(np.int32)

    def truncated(self, leave_out: int) -> Sequences:
        """Copies every sequence without its ``leave_out`` last items."""
        lengths = np.maximum(self.lengths - leave_out, 0)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        kept = np.arange(self.num_interactions) - np.repeat(self.offsets[:-1], self.lengths)
        return Sequences(
            np.asarray(self.values[kept < np.repeat(lengths, self.lengths)], np.int32), offsets
        )

    def item_counts(self, num_items: int, leave_out: int = LEAVE_OUT_TRAIN) -> Int64Array:
        """How often each item stands in the sequences, shape (num_items + 1,)."""
        return np.bincount(self.truncated(leave_out).values, minlength=num_items + 1)

    def save(self, folder: Path) -> None:
        """Writes ``sequences.npy`` and ``offsets.npy`` into an existing folder."""
        np.save(folder / "sequences.npy", self.values)
        np.save(folder / "offsets.npy", self.offsets)

    @classmethod
    def load(cls, folder: Path) -> Sequences:
        """Memory-maps what ``save`` wrote."""
        return cls(
            np.load(folder / "sequences.npy", mmap_mode="r"),
            np.load(folder / "offsets.npy", mmap_mode="r"),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Sequences], item_offsets: Sequence[int]) -> Sequences:
        """Puts sequences one after another, adding each part's offset to its item ids."""
        values = [
            np.asarray(part.values) + np.int32(shift)
            for part, shift in zip(parts, item_offsets, strict=True)
        ]
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(np.concatenate(values), np.concatenate([[0], np.cumsum(lengths)]))
