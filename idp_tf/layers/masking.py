"""Which items of a sequence a cloze task hides."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.errors import SettingsError
from idp_tf.layers.counted import CountedRandom

LAST_ALONE = 1 / 11
"""Share of users of whom the last item alone is hidden. The official code makes ten copies of
each sequence with random masks, and one with a mask at the end, as in evaluation."""


@tf_keras.utils.register_keras_serializable("idp_tf")
class ClozeMask(CountedRandom):
    """Chooses the items that are to be guessed, repeatably (``CountedRandom``).

    Each item is chosen with the probability ``rate``, and at least one of each user; of every
    eleventh user, by chance, the last item alone. Outside of training it is the last alone.

    Args:
        rate: Share of items, in (0, 1].
        seed: Seed of the choices.

    Call arguments:
        candidates: (batch, length) bool, items that may be chosen; each user's last is at the
            end of the row.
        training: Whether the choice is random.

    Returns:
        (batch, length) bool; a row without candidates has none chosen.

    Raises:
        SettingsError: if the rate is impossible.

    Reference: Sun et al. 2019, section 3.6, https://arxiv.org/abs/1904.06690, whose code
    chooses exactly that share of each sequence, rounded.

    Example:
        >>> ClozeMask(0.2)(tf.constant([[False, True, True]]), training=False).numpy()
        array([[False, False,  True]])
    """

    def __init__(self, rate: float, seed: int = 0, **kwargs: Any):
        super().__init__(seed, **kwargs)
        if not 0 < rate <= 1:
            raise SettingsError(
                f"{rate} of the items cannot be masked",
                where="mask_rate",
                remedy="give a share above 0 and at most 1",
            )
        self.rate = rate

    def call(self, candidates: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Chooses; see the class."""
        batch, length = tf.unstack(tf.shape(candidates))
        last = candidates & tf.equal(tf.range(length), length - 1)
        if not training:
            return last
        # A number for each item, and in front one that decides for the user.
        drawn = tf.random.stateless_uniform([batch, length + 1], seed=self.next_seed())
        lots = tf.where(candidates, drawn[:, 1:], 1.0)
        lowest = tf.reduce_min(lots, axis=1, keepdims=True)
        chosen = candidates & (tf.less(lots, self.rate) | tf.equal(lots, lowest))
        return tf.where(tf.less(drawn[:, :1], LAST_ALONE), last, chosen)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {**super().get_config(), "rate": self.rate}
