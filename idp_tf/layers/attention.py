"""Multi-head self-attention, over all positions or over the past."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.layers.dropout import CountedDropout
from idp_tf.layers.seeds import derive_seed

_MASKED = -1e9


@tf_keras.utils.register_keras_serializable("idp_tf")
class SelfAttention(tf_keras.layers.Layer):
    """Scaled dot-product self-attention over all items.

    One projection makes queries, keys and values, which is faster on short
    sequences than ``tf_keras.layers.MultiHeadAttention``'s three einsums.

    Args:
        num_heads: Number of heads; divides the width of the inputs.
        dropout: Rate at which attention weights are dropped.
        seed: Seed of the dropout and the initial weights.
        initial_stddev: Of BERT's truncated normal initial kernels; None for Glorot's.

    Call arguments:
        inputs: (batch, length, dim).
        padding_mask: (batch, length) bool, True where there is an item. A position
            with nothing to look at attends evenly to all; its output means nothing.

    Returns:
        (batch, length, dim).

    Reference: Vaswani et al. 2017, section 3.2; Kang and McAuley 2018, eq. 2 and 3.
    """

    def __init__(
        self,
        num_heads: int,
        dropout: float = 0.0,
        seed: int = 0,
        initial_stddev: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dropout = dropout
        self.seed = seed
        self.initial_stddev = initial_stddev

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the projections.

        Raises:
            ValueError: if ``num_heads`` does not divide the width of the inputs.
        """
        width = int(input_shape[-1])
        if width % self.num_heads:
            raise ValueError(f"num_heads must divide the width {width}, got {self.num_heads}")
        self.qkv = tf_keras.layers.Dense(
            3 * width,
            # Scale 2 gives the fused kernel the limits of three separate Glorot ones.
            kernel_initializer=build_initializer(
                derive_seed(self.seed, 0), self.initial_stddev, scale=2.0
            ),
            name="qkv",
        )
        self.output_projection = tf_keras.layers.Dense(
            width,
            kernel_initializer=build_initializer(derive_seed(self.seed, 1), self.initial_stddev),
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
        # Finite in float16 too: a row of infinities alone would be NaN.
        masked = tf.constant(max(_MASKED, float(scores.dtype.min) / 2), scores.dtype)
        scores += tf.where(self._visible(padding_mask), tf.zeros_like(masked), masked)
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
            "initial_stddev": self.initial_stddev,
        }

    def _visible(self, padding_mask: tf.Tensor) -> tf.Tensor:
        """What each position looks at, (batch, 1, 1 or length, length) bool."""
        return padding_mask[:, None, None, :]


@tf_keras.utils.register_keras_serializable("idp_tf")
class CausalSelfAttention(SelfAttention):
    """``SelfAttention`` over the present and the past."""

    def _visible(self, padding_mask: tf.Tensor) -> tf.Tensor:
        length = tf.shape(padding_mask)[1]
        past = tf.linalg.band_part(tf.ones([length, length], tf.bool), -1, 0)
        return past[None, None] & super()._visible(padding_mask)


def build_initializer(
    seed: int, stddev: float | None = None, scale: float = 1.0
) -> tf_keras.initializers.Initializer:
    """How kernels of transformers begin.

    Args:
        seed: Seed of the initial values.
        stddev: Of BERT's truncated normal ones; None for Glorot's uniform ones.
        scale: Factor of the variance of Glorot's.
    """
    if stddev is not None:
        return tf_keras.initializers.TruncatedNormal(stddev=stddev, seed=seed)
    return tf_keras.initializers.VarianceScaling(scale, "fan_avg", "uniform", seed=seed)
