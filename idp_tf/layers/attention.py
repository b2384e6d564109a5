"""Multi-head self-attention that looks back only."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.layers.dropout import CountedDropout
from idp_tf.layers.seeds import derive_seed

_MASKED = -1e9


@tf_keras.utils.register_keras_serializable("idp_tf")
class CausalSelfAttention(tf_keras.layers.Layer):
    """Scaled dot-product self-attention over the present and the past.

    One projection makes queries, keys and values, which is faster on short
    sequences than ``tf_keras.layers.MultiHeadAttention``'s three einsums.

    Args:
        num_heads: Number of heads; divides the width of the inputs.
        dropout: Rate at which attention weights are dropped.
        seed: Seed of the dropout and the initial weights.

    Call arguments:
        inputs: (batch, length, dim).
        padding_mask: (batch, length) bool, True where there is an item. A position
            with nothing to look at attends evenly to all; its output means nothing.

    Returns:
        (batch, length, dim).

    Reference: Vaswani et al. 2017, section 3.2; Kang and McAuley 2018, eq. 2 and 3.
    """

    def __init__(self, num_heads: int, dropout: float = 0.0, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dropout = dropout
        self.seed = seed

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the projections.

        Raises:
            ValueError: if ``num_heads`` does not divide the width of the inputs.
        """
        width = int(input_shape[-1])
        if width % self.num_heads:
            raise ValueError(f"num_heads must divide the width {width}, got {self.num_heads}")
        # Scale 2 gives the fused kernel the limits of three separate Glorot ones.
        self.qkv = tf_keras.layers.Dense(
            3 * width,
            kernel_initializer=tf_keras.initializers.VarianceScaling(
                2.0, "fan_avg", "uniform", seed=derive_seed(self.seed, 0)
            ),
            name="qkv",
        )
        self.output_projection = tf_keras.layers.Dense(
            width,
            kernel_initializer=tf_keras.initializers.GlorotUniform(derive_seed(self.seed, 1)),
            name="output",
        )
        self.weights_dropout = CountedDropout(self.dropout, seed=derive_seed(self.seed, 2))
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """Attends; see the class."""
        batch, length = tf.shape(inputs)[0], tf.shape(inputs)[1]
        width = inputs.shape[-1]
        head_width = width // self.num_heads
        qkv = tf.reshape(self.qkv(inputs), [batch, length, 3, self.num_heads, head_width])
        query, key, value = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))
        scores = tf.matmul(query * head_width**-0.5, key, transpose_b=True)
        past = tf.linalg.band_part(tf.ones([length, length], tf.bool), -1, 0)
        visible = past[None, None] & padding_mask[:, None, None, :]
        scores += tf.where(visible, 0.0, tf.cast(_MASKED, scores.dtype))
        weights = self.weights_dropout(tf.nn.softmax(scores), training=training)
        context = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])
        return self.output_projection(tf.reshape(context, [batch, length, width]))

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "seed": self.seed,
        }
