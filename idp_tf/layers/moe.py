"""UniSRec's adaptor: several whitenings of a title's vector, mixed by a gate."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.layers.counted import CountedRandom
from idp_tf.layers.dropout import CountedDropout
from idp_tf.layers.seeds import derive_seed

# What the noise of a gate has at least, as a standard deviation.
_LEAST_NOISE = 0.01


@tf_keras.utils.register_keras_serializable("idp_tf")
class ParametricWhitening(tf_keras.layers.Layer):
    """``(x - b) W``: a linear whitening whose shift and rotation are learned.

    Args:
        output_dim: Width of the result.
        dropout: Rate at which elements of the input are dropped, before the shift.
        seed: Seed of the initial weights and the dropout.

    Shapes: (…, dim) in, (…, output_dim) out.

    Reference: Hou et al. 2022, "Towards Universal Sequence Representation Learning for
    Recommender Systems" (UniSRec), https://arxiv.org/abs/2206.05941; the dropout and the initial
    weights are the official code's ``PWLayer``.

    Example:
        >>> import numpy as np
        >>> layer = ParametricWhitening(2)
        >>> layer.build((None, 3))
        >>> layer.set_weights([np.ones(3), np.ones((3, 2)), 0])
        >>> layer(tf.constant([[1.0, 2.0, 3.0]])).numpy().tolist()
        [[3.0, 3.0]]
    """

    def __init__(self, output_dim: int, dropout: float = 0.0, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.output_dim = output_dim
        self.dropout = dropout
        self.seed = seed

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates shift, projection and dropout."""
        width = int(input_shape[-1])
        self.shift = self.add_weight(name="shift", shape=(width,), initializer="zeros")
        self.kernel = self.add_weight(
            name="kernel",
            shape=(width, self.output_dim),
            initializer=tf_keras.initializers.RandomNormal(
                stddev=0.02, seed=derive_seed(self.seed, 0)
            ),
        )
        self.input_dropout = CountedDropout(self.dropout, seed=derive_seed(self.seed, 1))
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Whitens; see the class."""
        kept = self.input_dropout(inputs, training=training)
        # A product of matrices whatever the shape; tf.matmul makes one for each row of a batch,
        # and their gradients are as many kernels to add up.
        # The shift goes through it on its own, so that its gradient is that of one row.
        shift = tf.linalg.matvec(self.kernel, self.shift, transpose_a=True)
        return tf.tensordot(kept, self.kernel, axes=1) - shift

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {
            **super().get_config(),
            "output_dim": self.output_dim,
            "dropout": self.dropout,
            "seed": self.seed,
        }


@tf_keras.utils.register_keras_serializable("idp_tf")
class MoEAdaptor(tf_keras.layers.Layer):
    """A mixture of whitenings, ``sum_k g_k (x - b_k) W_k``.

    The gate is ``g = softmax(x W_gate + noise * (softplus(x W_noise) + 0.01))``, the noise
    standard normal in training and 0 otherwise. Both of its projections start at zero, so all
    experts count alike at the start.

    A row of zeros, which stands for an item without a title, gives zeros and not what the
    shifts would make of it: a vector that all such items share says nothing about any of them.

    Args:
        output_dim: Width of the result.
        num_experts: Number of whitenings.
        dropout: Rate of the whitenings' dropouts.
        noise: Whether the gate is noisy in training.
        seed: Seed of the initial weights, the noise and the dropouts.

    Shapes: (…, dim) in, such as titles' vectors; (…, output_dim) out.

    Reference: UniSRec (see ``ParametricWhitening``); the 0.01 and the defaults are the official
    code's ``MoEAdaptorLayer``.

    Example:
        >>> MoEAdaptor(4, num_experts=2)(tf.ones((5, 6))).shape
        TensorShape([5, 4])
    """

    def __init__(
        self,
        output_dim: int,
        num_experts: int = 8,
        dropout: float = 0.2,
        noise: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.output_dim = output_dim
        self.num_experts = num_experts
        self.dropout = dropout
        self.noise = noise
        self.seed = seed
        self.draws = CountedRandom(derive_seed(seed, 0))
        self.experts = [
            ParametricWhitening(
                output_dim, dropout, seed=derive_seed(seed, 1 + i), name=f"expert_{i}"
            )
            for i in range(num_experts)
        ]

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the gate."""
        shape = (int(input_shape[-1]), self.num_experts)
        self.gate_kernel = self.add_weight(name="gate", shape=shape, initializer="zeros")
        # Where there is no noise it would be a weight without a gradient.
        if self.noise:
            self.noise_kernel = self.add_weight(name="noise", shape=shape, initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Whitens and mixes; see the class."""
        gate = self.gate(inputs, training=training)
        titled = tf.reduce_any(tf.not_equal(inputs, 0), axis=-1, keepdims=True)
        shares = tf.unstack((gate * tf.cast(titled, gate.dtype))[..., None], axis=-2)
        whitened = [expert(inputs, training=training) for expert in self.experts]
        # Not as a product of matrices, which would be as many tiny ones as there are rows.
        return tf.add_n([share * x for share, x in zip(shares, whitened, strict=True)])

    def gate(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """How much each expert counts, (…, num_experts); sums to 1."""
        logits = tf.tensordot(inputs, self.gate_kernel, axes=1)
        if training and self.noise:
            scale = tf.nn.softplus(tf.tensordot(inputs, self.noise_kernel, axes=1)) + _LEAST_NOISE
            drawn = tf.random.stateless_normal(
                tf.shape(logits), self.draws.next_seed(), dtype=logits.dtype
            )
            logits += drawn * scale
        return tf.nn.softmax(logits)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {
            **super().get_config(),
            "output_dim": self.output_dim,
            "num_experts": self.num_experts,
            "dropout": self.dropout,
            "noise": self.noise,
            "seed": self.seed,
        }
