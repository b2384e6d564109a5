"""Keras layers (tf_keras) that the sequence models are built from."""

from idp_tf.layers.attention import CausalSelfAttention, SelfAttention
from idp_tf.layers.bidirectional import INITIAL_STDDEV, BidirectionalTransformer
from idp_tf.layers.dropout import CountedDropout
from idp_tf.layers.embedding import ItemEmbedding
from idp_tf.layers.gru import GatedRecurrent
from idp_tf.layers.masking import LAST_ALONE, ClozeMask
from idp_tf.layers.normalization import LayerNorm
from idp_tf.layers.seeds import derive_seed
from idp_tf.layers.transformer import CausalTransformer

__all__ = [
    "INITIAL_STDDEV",
    "LAST_ALONE",
    "BidirectionalTransformer",
    "CausalSelfAttention",
    "CausalTransformer",
    "ClozeMask",
    "CountedDropout",
    "GatedRecurrent",
    "ItemEmbedding",
    "LayerNorm",
    "SelfAttention",
    "derive_seed",
]
