"""Layer normalization with the gradient that one derives by hand."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable("idp_tf")
class LayerNorm(tf_keras.layers.LayerNormalization):
    """``LayerNormalization`` over the last axis, differentiated in closed form.

    Keras's own, at an epsilon too small for its fused kernel, is differentiated operation by
    operation, in many more passes over the activations (docs/performance.md). Outside of
    training it is Keras's own, so exports hold nothing else.

    Shapes: (batch, length, dim) in, the same out.

    Reference: Ba et al. 2016, https://arxiv.org/abs/1607.06450.

    Example:
        >>> layer = LayerNorm(epsilon=1e-8)
        >>> [round(float(x), 3) for x in layer(tf.constant([[[1.0, 3.0]]]), training=True)[0, 0]]
        [-1.0, 1.0]
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Normalizes; the same values whether ``training`` or not, to rounding."""
        if not training:
            return super().call(inputs)
        # In float32, as Keras's own: bfloat16 has too few digits for a variance.
        full = tf.cast(inputs, tf.float32)
        gamma, beta = tf.cast(self.gamma, tf.float32), tf.cast(self.beta, tf.float32)
        return tf.cast(_normalize(full, gamma, beta, self.epsilon), inputs.dtype)


def _normalize(inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    @tf.custom_gradient
    def normalize(
        inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
        centred = inputs - tf.reduce_mean(inputs, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        inverse = tf.math.rsqrt(variance + epsilon)
        normal = centred * inverse

        def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            scaled = upstream * gamma
            along = upstream * normal
            # What moves the mean, and what moves the variance, has no effect.
            of_mean = tf.reduce_mean(scaled, axis=-1, keepdims=True)
            of_variance = tf.reduce_mean(along * gamma, axis=-1, keepdims=True)
            of_inputs = (scaled - of_mean - normal * of_variance) * inverse
            return (
                of_inputs,
                tf.reduce_sum(along, axis=[0, 1]),
                tf.reduce_sum(upstream, axis=[0, 1]),
            )

        return normal * gamma + beta, backward

    return normalize(inputs, gamma, beta)
