"""Layers whose random numbers are a function of a seed and a counter that is saved."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras


class CountedLayer(tf_keras.layers.Layer):
    """A layer that knows how many training calls it has had.

    The count is a weight, so a training that goes on from a checkpoint draws what an
    undisturbed one would have drawn.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.calls = self.add_weight(
            name="calls",
            shape=(),
            dtype=tf.int64,
            initializer="zeros",
            trainable=False,
            # Replicas count in step, so the first one's count is that of all.
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def next_seed(self, seed: int) -> tf.Tensor:
        """Counts a call; the (2,) int64 seed of what this one draws.

        Args:
            seed: The layer's own; the other half is the call's number.
        """
        count = _number_of_draw(self.calls.assign_add(1))
        return tf.stack([tf.constant(seed, tf.int64), count])


def _number_of_draw(call: tf.Tensor) -> tf.Tensor:
    """Which of all draws is a replica's: another one in each; in one process, the call's."""
    replica = tf.distribute.get_replica_context()
    own = tf.cast(replica.replica_id_in_sync_group, call.dtype)
    return call * replica.num_replicas_in_sync - own
