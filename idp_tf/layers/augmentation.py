"""What is left out at random: items of histories, as a second view of a user, and targets."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.data.schema import PAD_ID
from idp_tf.errors import SettingsError
from idp_tf.layers.counted import CountedRandom


@tf_keras.utils.register_keras_serializable("idp_tf")
class ItemDrop(CountedRandom):
    """Leaves out items of histories at random and closes the gaps.

    A history's oldest item is always kept, so none becomes empty. Each call draws anew, from a
    count that is saved with the weights.

    Args:
        rate: Share of the other items that is left out, in [0, 1).
        seed: Seed of what is left out.

    Call arguments:
        item_ids: (batch, length) ids, padded on the left with 0.

    Returns:
        The same shape and padding.

    Reference: UniSRec's item drop. The official code (``PLMEmb``, which pads on the right) marks
    the same items, oldest included, but then writes each dropped one over the kept one before
    it, so that it loses other items, as many; this does what is marked. Its other augmentation,
    word drop, is of titles: their vectors are made by the text encoder.

    Raises:
        ValueError: if the rate is outside its range.

    Example:
        >>> ItemDrop(0.5, seed=3)(tf.constant([[0, 0, 4, 5, 6, 7]])).numpy().tolist()
        [[0, 0, 0, 4, 5, 6]]
    """

    def __init__(self, rate: float = 0.2, seed: int = 0, **kwargs: Any):
        super().__init__(seed, **kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be in [0, 1), got {rate}")
        self.rate = rate

    def call(self, item_ids: tf.Tensor) -> tf.Tensor:
        """Leaves items out; see the class."""
        item_ids = tf.convert_to_tensor(item_ids)
        chance = tf.random.stateless_uniform(tf.shape(item_ids), self.next_seed())
        return keep_items(item_ids, chance >= self.rate)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {**super().get_config(), "rate": self.rate}


@tf_keras.utils.register_keras_serializable("idp_tf")
class PositionSample(CountedRandom):
    """Leaves out positives at random where a batch has more than so many; bounds memory.

    Args:
        most: How many may stay.
        seed: Seed of the choice, which each call makes anew (``CountedRandom``).

    Call arguments:
        positive_ids: (batch, length), 0 where there is none.

    Returns:
        The same, with 0 where a positive is left out.

    Raises:
        SettingsError: if none may stay.

    Example:
        >>> ids = tf.constant([[0, 4, 5], [6, 7, 8]])
        >>> int(tf.math.count_nonzero(PositionSample(3)(ids)))
        3
    """

    def __init__(self, most: int, seed: int = 0, **kwargs: Any):
        super().__init__(seed, **kwargs)
        if most < 1:
            raise SettingsError(f"{most} positives of a batch", where="most", remedy="at least 1")
        self.most = most

    def call(self, positive_ids: tf.Tensor) -> tf.Tensor:
        """Leaves positives out; see the class."""
        positive_ids = tf.convert_to_tensor(positive_ids)
        drawn = tf.random.stateless_uniform(tf.shape(positive_ids), self.next_seed())
        lots = tf.reshape(tf.where(tf.not_equal(positive_ids, PAD_ID), drawn, 1.0), [-1])
        # The place of each lot among all of them.
        places = tf.reshape(tf.argsort(tf.argsort(lots)), tf.shape(positive_ids))
        return tf.where(places < self.most, positive_ids, PAD_ID)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {**super().get_config(), "most": self.most}


def keep_items(item_ids: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
    """Histories of the items that are kept and of the oldest one, in order, padded on the left.

    Args:
        item_ids: (batch, length) ids, padded on the left with 0.
        keep: (batch, length) bool.

    Returns:
        The same shape as ``item_ids``.

    Example:
        >>> keep = tf.constant([[True, False, False, True, False]])
        >>> keep_items(tf.constant([[0, 5, 6, 7, 8]]), keep).numpy().tolist()
        [[0, 0, 0, 5, 7]]
    """
    real = tf.not_equal(item_ids, PAD_ID)
    oldest = real & tf.equal(tf.cumsum(tf.cast(real, tf.int32), axis=1), 1)
    kept = real & (keep | oldest)
    length = tf.shape(item_ids)[1]
    # What goes, goes to the front as padding; what stays keeps its order behind it.
    order = tf.argsort(tf.range(length) + length * tf.cast(kept, tf.int32), axis=1)
    return tf.gather(item_ids * tf.cast(kept, item_ids.dtype), order, batch_dims=1)
