"""Keras layers (tf_keras) that the sequence models are built from."""

from idp_tf.layers.adversarial import DomainClassifier, GradientReversal, GrowingStrength
from idp_tf.layers.attention import CausalSelfAttention, SelfAttention
from idp_tf.layers.augmentation import ItemDrop, PositionSample, keep_items
from idp_tf.layers.bidirectional import INITIAL_STDDEV, BidirectionalTransformer
from idp_tf.layers.combined_items import JoinedItems, SummedItems
from idp_tf.layers.dropout import CountedDropout
from idp_tf.layers.embedding import ItemEmbedding
from idp_tf.layers.gru import GatedRecurrent
from idp_tf.layers.items import IdItems, ItemLayer, TitleItems
from idp_tf.layers.masking import LAST_ALONE, ClozeMask
from idp_tf.layers.moe import MoEAdaptor, ParametricWhitening
from idp_tf.layers.normalization import LayerNorm
from idp_tf.layers.patches import ModelPatch, PatchedTransformer
from idp_tf.layers.post_norm import PostNormTransformer
from idp_tf.layers.projection import FixedProjection, fit_pca
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
    "DomainClassifier",
    "FixedProjection",
    "GatedRecurrent",
    "GradientReversal",
    "GrowingStrength",
    "IdItems",
    "ItemDrop",
    "ItemEmbedding",
    "ItemLayer",
    "JoinedItems",
    "LayerNorm",
    "MoEAdaptor",
    "ModelPatch",
    "ParametricWhitening",
    "PatchedTransformer",
    "PositionSample",
    "PostNormTransformer",
    "SelfAttention",
    "SummedItems",
    "TitleItems",
    "derive_seed",
    "fit_pca",
    "keep_items",
]
