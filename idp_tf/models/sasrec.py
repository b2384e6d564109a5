"""SASRec, the base model of IDP."""

from __future__ import annotations

from typing import Any

import tf_keras

from idp_tf.layers import CausalTransformer, derive_seed
from idp_tf.models.transformer_model import TransformerModel


@tf_keras.utils.register_keras_serializable("idp_tf")
class SASRec(TransformerModel):
    """Self-attentive sequential recommendation, trained at every position.

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        embedding_dim: Width of item embeddings and of the encoder.
        num_layers: Transformer layers.
        num_heads: Attention heads.
        dropout: Dropout rate.
        max_length: Longest history that is read.
        seed: Seed of initial weights and dropout.
        **kwargs: As for ``TransformerModel``; the ``loss`` ``bpr`` is ID-centric Pre-training's
            (eq. 3), ``bce`` the original's.

    Reference: Kang and McAuley 2018, https://arxiv.org/abs/1808.09781.

    Example:
        >>> import numpy as np
        >>> model = SASRec(num_items=10, embedding_dim=8, max_length=5)
        >>> model.encode_users(np.array([[0, 0, 1, 2, 3]], np.int32)).shape
        TensorShape([1, 8])
    """

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 2,
        dropout: float = 0.2,
        max_length: int = 50,
        seed: int = 0,
        **kwargs: Any,
    ):
        encoder = CausalTransformer(
            num_layers, num_heads, max_length, dropout, seed=derive_seed(seed, 1), name="encoder"
        )
        super().__init__(num_items, embedding_dim, encoder, seed, **kwargs)
