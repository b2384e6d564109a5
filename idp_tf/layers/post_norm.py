"""A causal stack of BERT's layers, as RecBole's SASRec has it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.layers.attention import CausalSelfAttention
from idp_tf.layers.bidirectional import EPSILON, BertBlock
from idp_tf.layers.freezing import PartlyFrozen
from idp_tf.layers.normalization import LayerNorm
from idp_tf.layers.transformer import TransformerStack


class _CausalBertBlock(BertBlock):
    """``BertBlock`` over the present and the past."""

    attention_class = CausalSelfAttention


@tf_keras.utils.register_keras_serializable("idp_tf")
class PostNormTransformer(PartlyFrozen, TransformerStack):
    """Position embeddings, a norm, and causal layers that normalise after each sublayer.

    Args:
        fixed: Whether positions and layers stay as they are; the norm of the inputs is trained
            even so.
        **kwargs: ``TransformerStack``'s arguments.

    Call arguments:
        inputs: Item vectors, (batch, length, dim), length <= max_length.
        padding_mask: (batch, length) bool, True where there is an item.

    Returns:
        (batch, length, dim); the last position represents the user.

    Reference: RecBole's ``SASRec`` and ``TransformerEncoder``, which are UniSRec's encoder,
    at an inner width of 4 dim; positions are counted from the start there. What is fixed is
    what UniSRec's ``finetune.py`` fixes.

    Example:
        >>> layer = PostNormTransformer(num_layers=1, num_heads=2, max_length=5, fixed=True)
        >>> layer(tf.ones((1, 3, 8)), padding_mask=tf.ones((1, 3), tf.bool)).shape
        TensorShape([1, 3, 8])
        >>> len(layer.trainable_weights), len(layer.learned_weights)
        (2, 15)
    """

    block_class = _CausalBertBlock

    def __init__(self, *args: Any, fixed: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fixed = fixed
        self.input_norm = LayerNorm(epsilon=EPSILON, name="input_norm")

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """Encodes; see the class."""
        hidden = self.input_norm(self.with_positions(inputs), training=training)
        hidden = self.input_dropout(hidden, training=training)
        for block in self.blocks:
            hidden = block(hidden, padding_mask, training=training)
        return hidden

    def tuned_weights(self) -> list[tf.Variable]:
        """The input norm's if ``fixed``, otherwise all."""
        return self.input_norm.weights if self.fixed else self.learned_weights

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {**super().get_config(), "fixed": self.fixed}
