"""The baseline of ``train``: SASRec as a Keras user writes it, and nothing made fast.

The layers and the optimizer are tf_keras' own; its Adam decays the moments of every row of
the item table at every step. Shape, initial spread, dropout, loss and batches are those of
``idp_tf.models.SASRec``.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras


def _spread() -> tf_keras.initializers.Initializer:
    return tf_keras.initializers.RandomNormal(stddev=0.02)


class PlainSASRec(tf_keras.Model):
    """SASRec with BPR at every position, for the batches of ``TrainingBatches``.

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        embedding_dim: Width of item embeddings and of the encoder.
        num_layers: Transformer layers.
        num_heads: Attention heads.
        dropout: Rate of all dropouts.
        max_length: Longest history that is read.
    """

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 2,
        dropout: float = 0.2,
        max_length: int = 50,
    ):
        super().__init__()
        self.max_length = max_length
        self.items = tf_keras.layers.Embedding(num_items + 1, embedding_dim, _spread())
        self.positions = tf_keras.layers.Embedding(max_length, embedding_dim, _spread())
        self.dropout = tf_keras.layers.Dropout(dropout)
        self.blocks = [_Block(embedding_dim, num_heads, dropout) for _ in range(num_layers)]
        self.norm = tf_keras.layers.LayerNormalization(epsilon=1e-8)
        self.loss_tracker = tf_keras.metrics.Mean(name="loss")

    def call(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Encodes every prefix: (batch, length) -> (batch, length, dim), padded on the left."""
        mask = tf.not_equal(item_ids, 0)
        # Positions count from the end, since batches are as long as their bucket.
        places = tf.range(tf.shape(item_ids)[1])[::-1]
        hidden = self.items(item_ids) * tf.cast(mask, tf.float32)[..., None]
        hidden = self.dropout(hidden + self.positions(places), training=training)
        for block in self.blocks:
            hidden = block(hidden, mask, training=training)
        return self.norm(hidden)

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step of BPR over the positions that have a target."""
        with tf.GradientTape() as tape:
            hidden = self(data["item_ids"], training=True)
            positive = tf.reduce_sum(hidden * self.items(data["positive_ids"]), axis=-1)
            negative = tf.reduce_sum(hidden * self.items(data["negative_ids"]), axis=-1)
            weights = tf.cast(tf.not_equal(data["positive_ids"], 0), tf.float32)
            losses = tf.nn.softplus(negative - positive) * weights
            loss = tf.math.divide_no_nan(tf.reduce_sum(losses), tf.reduce_sum(weights))
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}

    @tf.function(reduce_retracing=True)
    def encode_users(self, item_ids: tf.Tensor) -> tf.Tensor:
        """User representations, (batch, length) -> (batch, dim)."""
        return self(item_ids, training=False)[:, -1]

    def item_vectors(self) -> tf.Tensor:
        """The item table, (num_items + 1, dim)."""
        return tf.convert_to_tensor(self.items.embeddings)


class _Block(tf_keras.layers.Layer):
    def __init__(self, width: int, num_heads: int, dropout: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.attention_norm = tf_keras.layers.LayerNormalization(epsilon=1e-8)
        self.attention = tf_keras.layers.MultiHeadAttention(
            num_heads, width // num_heads, dropout=dropout
        )
        self.network_norm = tf_keras.layers.LayerNormalization(epsilon=1e-8)
        self.network = tf_keras.Sequential(
            [
                tf_keras.layers.Dense(width, activation="relu"),
                tf_keras.layers.Dropout(dropout),
                tf_keras.layers.Dense(width),
                tf_keras.layers.Dropout(dropout),
            ]
        )
        self.dropout = tf_keras.layers.Dropout(dropout)

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        normed = self.attention_norm(inputs)
        attended = self.attention(
            normed,
            normed,
            attention_mask=padding_mask[:, None, :],
            use_causal_mask=True,
            training=training,
        )
        hidden = inputs + self.dropout(attended, training=training)
        return hidden + self.network(self.network_norm(hidden), training=training)
