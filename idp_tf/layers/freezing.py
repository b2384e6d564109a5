"""Layers of which some weights are trained and the others stay as they are."""

from __future__ import annotations

import tensorflow as tf
import tf_keras


class PartlyFrozen(tf_keras.layers.Layer):
    """A layer that trains ``tuned_weights`` alone; to be named before the class that it freezes.

    Keras's ``trainable`` is for whole layers; here a weight of a layer's own, such as position
    embeddings, may be frozen too. Files of weights, and the order of ``weights``, are those of
    the layer with nothing frozen.
    """

    def tuned_weights(self) -> list[tf.Variable]:
        """What is trained; Keras asks while the layer is being built, too."""
        raise NotImplementedError

    @property
    def learned_weights(self) -> list[tf.Variable]:
        """What would be trained if nothing were frozen."""
        weights: list[tf.Variable] = super().trainable_weights
        return weights

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """What is tuned."""
        tuned = self._tuned()
        return [weight for weight in self.learned_weights if id(weight) in tuned]

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """All else: what is frozen, and what is never trained, such as counts."""
        tuned = self._tuned()
        frozen = [weight for weight in self.learned_weights if id(weight) not in tuned]
        return frozen + super().non_trainable_weights

    @property
    def weights(self) -> list[tf.Variable]:
        """All, first what would be trained."""
        return [*self.learned_weights, *super().non_trainable_weights]

    def _tuned(self) -> set[int]:
        return {id(weight) for weight in self.tuned_weights()}
