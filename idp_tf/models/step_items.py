"""Where the item loss of a step finds the vectors of items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf


class _Model(Protocol):
    """What of a ``SequenceModel`` is used here."""

    def vectors_of(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor: ...

    def item_vectors(self, training: bool | None = None) -> tf.Tensor: ...


@dataclass(frozen=True)
class ItemsOfStep:
    """A model's items as a loss sees them: in training, adaptors may add noise."""

    model: _Model
    training: bool

    def vectors_of(self, item_ids: tf.Tensor) -> tf.Tensor:
        """Vectors of some items: ids of any shape -> (…, dim)."""
        return self.model.vectors_of(item_ids, training=self.training)

    def item_vectors(self) -> tf.Tensor:
        """Vectors of all items, (num_items + 1, dim); row 0 is padding."""
        return self.model.item_vectors(training=self.training)


@dataclass(frozen=True)
class MadeItems(ItemsOfStep):
    """The same, where the vectors of the step's items are made already.

    Attributes:
        ids: Of those items, (n,), ascending.
        vectors: Theirs, (n, dim).
    """

    ids: tf.Tensor
    vectors: tf.Tensor

    def vectors_of(self, item_ids: tf.Tensor) -> tf.Tensor:
        """Vectors of some of those items: ids of any shape -> (…, dim)."""
        return looked_up(item_ids, self.ids, self.vectors)


def looked_up(item_ids: tf.Tensor, ids: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    """The rows of some items in a table of a few.

    Args:
        item_ids: Any shape; each is to be one of ``ids``.
        ids: The table's, (n,), ascending.
        vectors: (n, dim).

    Returns:
        (…, dim).

    Example:
        >>> vectors = tf.constant([[0.0], [0.5], [0.7]])
        >>> looked_up(tf.constant([[7, 0, 7]]), tf.constant([0, 5, 7]), vectors)[0, :, 0].numpy()
        array([0.7, 0. , 0.7], dtype=float32)
    """
    places = tf.searchsorted(ids, tf.reshape(item_ids, [-1]))
    return tf.gather(vectors, tf.reshape(places, tf.shape(item_ids)))
