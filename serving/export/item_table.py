"""The item vectors of an export, as its graph holds them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf


class ItemTable:
    """Vectors of all items, a variable that every signature of an export shares.

    Args:
        vectors: Shape (num_items, dim); row ``i`` belongs to internal id ``i + 1``.
    """

    def __init__(self, vectors: npt.NDArray[np.float32]):
        self.num_items, self.dim = vectors.shape
        self._vectors = tf.Variable(vectors, trainable=False, name="item_vectors")

    def rows(self, rows: tf.Tensor) -> tf.Tensor:
        """Vectors of some rows, from 0: any shape -> (…, dim)."""
        return tf.gather(self._vectors, rows)

    def scores(self, users: tf.Tensor) -> tf.Tensor:
        """Products with every item: (batch, dim) -> (batch, num_items)."""
        return tf.matmul(users, self._vectors, transpose_b=True)
