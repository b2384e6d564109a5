"""What a history's vectors come to together: a mean in which recent ones count for more."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable("idp_tf")
class RecencyProfile(tf_keras.layers.Layer):
    """The direction of the weighted sum of what came up to a position.

    The vector ``k`` places before a position counts by a trained weight, which begins as
    ``1 / sqrt(1 + k)``. Nothing comes of padding.

    Args:
        max_length: Longest history.

    Call arguments:
        inputs: (batch, length, dim), length <= max_length.
        padding_mask: (batch, length) bool, True where there is an item.

    Returns:
        (batch, length, dim), of length 1; zeros where there has been nothing but zeros.

    Example:
        >>> layer = RecencyProfile(max_length=3)
        >>> inputs = tf.constant([[[9.0, 9.0], [2.0 ** 0.5 * 3, 0.0], [0.0, 4.0]]])
        >>> layer(inputs, tf.constant([[False, True, True]])).numpy()[0].round(2)
        array([[0. , 0. ],
               [1. , 0. ],
               [0.6, 0.8]], dtype=float32)
    """

    def __init__(self, max_length: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.max_length = max_length
        decay = -0.5 * np.log1p(np.arange(max_length, dtype=np.float32))
        self.log_weights = self.add_weight(
            name="log_weights",
            shape=(max_length,),
            initializer=tf_keras.initializers.Constant(decay),
        )

    def call(self, inputs: tf.Tensor, padding_mask: tf.Tensor) -> tf.Tensor:
        """Sums; see the class."""
        places = tf.range(tf.shape(inputs)[1])
        before = places[:, None] - places[None]
        weights = tf.gather(tf.exp(self.log_weights), tf.maximum(before, 0))
        weights = tf.where(before >= 0, weights, 0)
        kept = tf.where(padding_mask[..., None], inputs, 0)
        summed = tf.einsum("ts,bsd->btd", tf.cast(weights, inputs.dtype), kept)
        return tf.math.l2_normalize(summed, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {**super().get_config(), "max_length": self.max_length}
