"""FDSA: self-attention over items and, apart from it, over their features."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.layers import CausalTransformer, JoinedItems, derive_seed
from idp_tf.models.items import checked_joined
from idp_tf.models.transformer_model import TransformerModel


@tf_keras.utils.register_keras_serializable("idp_tf")
class FDSA(TransformerModel):
    """Feature-level deeper self-attention: one transformer reads ids, another one titles.

    What both give is put side by side and through a fully connected layer; an item's score
    is the dot product of that with the embedding of its id.

    Here an item has one feature, its title's vector through the dense layer of ``TitleItems``.
    The paper weighs several features by a "vanilla" attention, a softmax over them, which over
    one is 1 whatever it has learned, and is left out. The two stacks are ``CausalTransformer``,
    which normalises before each sublayer, where the paper does so after it.

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        embedding_dim: Width of item embeddings and of both transformers.
        num_layers: Transformer layers, as many for titles as for ids.
        num_heads: Attention heads.
        dropout: Dropout rate.
        max_length: Longest history that is read.
        seed: Seed of the encoder's initial weights and of dropout.
        items: Ids and titles, both of width ``embedding_dim``.
        **kwargs: As for ``TransformerModel``; the ``loss`` ``bce`` is the original's.

    Raises:
        SettingsError: if there are no titles, or they do not fit.

    Reference: Zhang et al. 2019, "Feature-level Deeper Self-Attention Network for Sequential
    Recommendation", https://www.ijcai.org/proceedings/2019/600.

    Example:
        >>> import numpy as np
        >>> from idp_tf.layers import IdItems, TitleItems
        >>> titles = np.concatenate([np.zeros((1, 12)), np.eye(10, 12)])
        >>> items = JoinedItems(IdItems(10, 8, seed=1), TitleItems(titles, 8, seed=2))
        >>> model = FDSA(num_items=10, embedding_dim=8, max_length=5, items=items)
        >>> model.encode_users(np.array([[0, 0, 1, 2, 3]], np.int32)).shape
        TensorShape([1, 8])
    """

    items: JoinedItems

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 2,
        dropout: float = 0.2,
        max_length: int = 50,
        seed: int = 0,
        items: JoinedItems | None = None,
        **kwargs: Any,
    ):
        items = checked_joined(items, embedding_dim, "FDSA")
        encoder = _TwoLevels(
            num_layers, num_heads, max_length, dropout, seed=derive_seed(seed, 1), name="encoder"
        )
        super().__init__(num_items, embedding_dim, encoder, seed, items=items, **kwargs)

    def item_vectors(self, training: bool | None = None) -> tf.Tensor:
        """Embeddings of the ids alone, (num_items + 1, dim); row 0 is padding."""
        return self.items.ids.table()

    def vectors_of(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Embeddings of some ids: any shape -> (…, dim)."""
        return tf.cast(self.items.ids(item_ids), tf.float32)


class _TwoLevels(tf_keras.layers.Layer):
    """Two encoders, each of one half of the inputs, and a fully connected layer over both.

    (batch, length, 2 dim) -> (batch, length, dim); the half that stands first is the items'.
    """

    def __init__(
        self,
        num_layers: int,
        num_heads: int,
        max_length: int,
        dropout: float,
        seed: int,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.max_length = max_length
        self.dropout = dropout
        self.seed = seed
        self.item_encoder, self.feature_encoder = (
            CausalTransformer(num_layers, num_heads, max_length, dropout, derive_seed(seed, i))
            for i in range(2)
        )

    def build(self, input_shape: tf.TensorShape) -> None:
        self.output_projection = tf_keras.layers.Dense(
            int(input_shape[-1]) // 2,
            kernel_initializer=tf_keras.initializers.GlorotUniform(derive_seed(self.seed, 2)),
            name="output",
        )
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        ids, features = tf.split(inputs, 2, axis=-1)
        by_items = self.item_encoder(ids, padding_mask=padding_mask, training=training)
        by_features = self.feature_encoder(features, padding_mask=padding_mask, training=training)
        return self.output_projection(tf.concat([by_items, by_features], axis=-1))
