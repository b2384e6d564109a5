"""Counts that are saved, and random numbers that are a function of a seed and such a count."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras


class Counted(tf_keras.layers.Layer):
    """A layer with a count, ``calls``, that is saved with its weights; at first 0."""

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


class CountedRandom(Counted):
    """A layer whose n-th draw depends on its seed and n alone, and n is a weight.

    The generators of Keras's own layers have a state that no checkpoint holds, so a run that
    was killed cannot repeat what an undisturbed one would have drawn.

    Args:
        seed: Seed of this layer's draws.
    """

    def __init__(self, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = seed

    def next_seed(self) -> tf.Tensor:
        """Counts one draw; its seed for ``tf.random.stateless_*``, (2,) int64."""
        count = _number_of_draw(self.calls.assign_add(1))
        return tf.stack([tf.constant(self.seed, tf.int64), count])

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {**super().get_config(), "seed": self.seed}


def _number_of_draw(call: tf.Tensor) -> tf.Tensor:
    """Which of all draws a replica makes: another one in each; in one process, the call's."""
    replica = tf.distribute.get_replica_context()
    own = tf.cast(replica.replica_id_in_sync_group, call.dtype)
    return call * replica.num_replicas_in_sync - own
