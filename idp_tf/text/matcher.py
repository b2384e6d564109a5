"""The Keras 3 model that tunes a text encoder with both objectives at once."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from idp_tf.text.bert import encode_tokens
from idp_tf.text.encoder import TextEncoder
from idp_tf.text.objectives import distillation_loss, matcher_losses


class MatcherModel(keras.Model):
    """The Cross-domain ID Matcher in tuning: eq. 7 through ``model.fit``.

    To eq. 7 comes ``distillation`` times the distance from the untuned encoder's vectors.

    Args:
        encoder: The encoder to tune; its weights are this model's weights.
        temperature: tau of eq. 5 and 6.
        distillation: Weight of ``distillation_loss`` over anchors and neighbours; 0 is eq. 7.

    Call shapes:
        A batch of ``TuningBatches``; returns the vectors of its titles, shape
        (3 batch_size, width): anchors, their second views, neighbours.

    Reference:
        Eq. 5 to 7 of "ID-centric Pre-training for Recommendation".
    """

    def __init__(
        self, encoder: TextEncoder, temperature: float, distillation: float = 0.0, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.backbone = encoder.backbone
        self.pooling = encoder.pooling
        self.temperature = temperature
        self.distillation = distillation
        self.text_loss = keras.metrics.Mean(name="text_loss")
        self.behaviour_loss = keras.metrics.Mean(name="behaviour_loss")
        self.distillation_loss = keras.metrics.Mean(name="distillation_loss")
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Encodes each group by itself, then puts the titles back into their order."""
        groups = [
            encode_tokens(self.backbone, token_ids, padding_mask, self.pooling, training)
            for token_ids, padding_mask in zip(
                inputs["token_ids"], inputs["padding_mask"], strict=True
            )
        ]
        return ops.take(ops.concatenate(groups, axis=0), inputs["places"], axis=0)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Eq. 7 and distillation; each objective is the mean over the batch."""
        anchors, views, neighbours = ops.split(y_pred, 3, axis=0)
        text, behaviour = matcher_losses(anchors, views, neighbours, x["allowed"], self.temperature)
        self.text_loss.update_state(text)
        self.behaviour_loss.update_state(behaviour)
        drift = distillation_loss(ops.concatenate([anchors, neighbours]), x["untuned"])
        self.distillation_loss.update_state(drift)
        return text + behaviour + self.distillation * drift
