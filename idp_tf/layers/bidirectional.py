"""BERT4Rec's stack of transformer layers, which look both ways."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from idp_tf.layers.attention import build_initializer
from idp_tf.layers.normalization import LayerNorm
from idp_tf.layers.seeds import derive_seed
from idp_tf.layers.transformer import TransformerBlock, TransformerStack

INITIAL_STDDEV = 0.02
"""Of initial kernels, item embeddings and the mask, truncated at twice that."""

EPSILON = 1e-12
"""Of BERT's norms."""


class BertBlock(TransformerBlock):
    """BERT's: attention and network are each added, and the sum is normalised.

    Arguments: ``TransformerBlock``. Call arguments and result: ``BidirectionalTransformer``.
    """

    inner_widths = 4
    activation = "gelu"
    epsilon = EPSILON
    initial_stddev = INITIAL_STDDEV

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """Encodes; see the class."""
        attended = self.attention(inputs, padding_mask, training=training)
        hidden = inputs + self.attention_dropout(attended, training=training)
        hidden = self.attention_norm(hidden, training=training)
        outer = self.outer(self.inner(hidden))
        hidden += self.outer_dropout(outer, training=training)
        return self.network_norm(hidden, training=training)


@tf_keras.utils.register_keras_serializable("idp_tf")
class BidirectionalTransformer(TransformerStack):
    """Position embeddings, ``num_layers`` layers in which all items see all, and a GELU head.

    Arguments, and how positions are counted: ``TransformerStack``.

    Call arguments:
        inputs: Item embeddings, (batch, length, dim), length <= max_length, where an item is
            to be guessed ``mask_vector`` (dim,), a weight.
        padding_mask: (batch, length) bool, True where there is an item or the mask.

    Returns:
        (batch, length, dim): what the item at each position is compared with.

    Reference: Sun et al. 2019, https://arxiv.org/abs/1904.06690, eq. 1 to 7, with the norms of
    embeddings and of the head that its official code has; without the output bias for each
    item, as scores are dot products here. Positions are counted from the start there.

    Example:
        >>> layer = BidirectionalTransformer(num_layers=1, num_heads=2, max_length=5)
        >>> layer(tf.ones((1, 3, 8)), padding_mask=tf.ones((1, 3), tf.bool)).shape
        TensorShape([1, 3, 8])
    """

    block_class = BertBlock

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates what ``TransformerStack`` does, the mask, and the head."""
        super().build(input_shape)
        width = int(input_shape[-1])
        # Seeds 0 … num_layers + 1 are the stack's.
        seeds = [derive_seed(self.seed, 2 + self.num_layers + i) for i in range(2)]
        self.mask_vector = self.add_weight(
            name="mask_vector",
            shape=(width,),
            initializer=build_initializer(seeds[0], INITIAL_STDDEV),
        )
        self.input_norm = LayerNorm(epsilon=EPSILON, name="input_norm")
        self.head = tf_keras.layers.Dense(
            width,
            activation="gelu",
            kernel_initializer=build_initializer(seeds[1], INITIAL_STDDEV),
            name="head",
        )
        self.head_norm = LayerNorm(epsilon=EPSILON, name="head_norm")

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """Encodes; see the class."""
        hidden = self.input_norm(self.with_positions(inputs), training=training)
        hidden = self.input_dropout(hidden, training=training)
        for block in self.blocks:
            hidden = block(hidden, padding_mask, training=training)
        return self.head_norm(self.head(hidden), training=training)
