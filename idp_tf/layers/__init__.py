"""Keras layers (tf_keras) that the sequence models are built from."""

from idp_tf.layers.attention import CausalSelfAttention
from idp_tf.layers.combined_items import JoinedItems, SummedItems
from idp_tf.layers.dropout import CountedDropout
from idp_tf.layers.embedding import ItemEmbedding
from idp_tf.layers.items import IdItems, ItemLayer, TitleItems
from idp_tf.layers.normalization import LayerNorm
from idp_tf.layers.projection import FixedProjection, fit_pca
from idp_tf.layers.seeds import derive_seed
from idp_tf.layers.transformer import CausalTransformer

__all__ = [
    "CausalSelfAttention",
    "CausalTransformer",
    "CountedDropout",
    "FixedProjection",
    "IdItems",
    "ItemEmbedding",
    "ItemLayer",
    "JoinedItems",
    "LayerNorm",
    "SummedItems",
    "TitleItems",
    "derive_seed",
    "fit_pca",
]
