"""An embedding table that may lie in shards on several machines."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable("idp_tf")
class ItemEmbedding(tf_keras.layers.Embedding):
    """``Embedding`` whose file holds the whole table, however many shards it is in.

    Weights that were trained on parameter servers can be loaded in one process, and the
    other way round.

    Example:
        >>> import numpy as np
        >>> layer = ItemEmbedding(3, 2)
        >>> layer(np.array([[1, 2]])).shape
        TensorShape([1, 2, 2])
    """

    def save_own_variables(self, store: Any) -> None:
        """Writes one table, shard by shard."""
        table = store.create_dataset(
            "0", shape=(self.input_dim, self.output_dim), dtype=self.embeddings.dtype.name
        )
        begin = 0
        for shard in self._shards():
            table[begin : begin + shard.shape[0]] = shard.numpy()
            begin += shard.shape[0]

    def load_own_variables(self, store: Any) -> None:
        """Reads a table into the shards that this layer has.

        Raises:
            ValueError: if it has another shape.
        """
        table = store["0"]
        if tuple(table.shape) != (self.input_dim, self.output_dim):
            raise ValueError(
                f"the file's table has the shape {tuple(table.shape)}, "
                f"the layer's {(self.input_dim, self.output_dim)}"
            )
        begin = 0
        for shard in self._shards():
            shard.assign(table[begin : begin + shard.shape[0]])
            begin += shard.shape[0]

    def _shards(self) -> list[tf.Variable]:
        """The layer has no other weight, whether it is trained or not."""
        return [*self._trainable_weights, *self._non_trainable_weights]
