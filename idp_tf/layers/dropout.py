"""Dropout whose mask is a function of a seed and a counter that is saved."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.layers.counted import CountedRandom


@tf_keras.utils.register_keras_serializable("idp_tf")
class CountedDropout(CountedRandom):
    """Dropout that continues exactly where a checkpoint left off (``CountedRandom``).

    One 32-bit random word decides four elements, which makes the mask four times
    cheaper; the rate is therefore a multiple of 1/256, and the kept elements are
    scaled by that exact rate.

    Args:
        rate: Share of elements set to zero, in [0, 1).
        seed: Seed of this layer's masks.

    Shapes: any in, the same out.

    Example:
        >>> layer = CountedDropout(0.5, seed=1)
        >>> float(tf.reduce_sum(layer(tf.ones((2, 3)), training=False)))
        6.0
    """

    def __init__(self, rate: float, seed: int = 0, **kwargs: Any):
        super().__init__(seed, **kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be in [0, 1), got {rate}")
        self.rate = rate
        self._threshold = round(rate * 256)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Drops elements when ``training``, otherwise returns the inputs."""
        if not training or self._threshold == 0:
            return inputs
        size = tf.size(inputs)
        words = tf.random.stateless_uniform(
            [(size + 3) // 4],
            seed=self.next_seed(),
            minval=None,
            maxval=None,
            dtype=tf.uint32,
        )
        octets = tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size]
        keep = tf.reshape(octets >= tf.constant(self._threshold, tf.uint8), tf.shape(inputs))
        scale = 256.0 / (256 - self._threshold)
        return inputs * tf.cast(keep, inputs.dtype) * tf.cast(scale, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {**super().get_config(), "rate": self.rate}
