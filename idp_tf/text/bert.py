"""From word pieces to one vector a title, over the layers of a KerasHub BERT (eq. 4).

The layers are called one by one, not through the backbone's own graph, so that a
batch of titles of one length goes without a padding mask.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import ops

Pooling = Literal["cls", "mean"]
EncoderDtype = Literal["float32", "bfloat16"]


def encode_tokens(
    backbone: Any,
    token_ids: Any,
    padding_mask: Any | None,
    pooling: Pooling,
    training: bool = False,
) -> Any:
    """L2-normalised vectors of tokenised titles.

    Args:
        backbone: A ``keras_hub.models.BertBackbone``.
        token_ids: ``[CLS] … [SEP]``, shape (batch, length).
        padding_mask: 1 for word pieces and 0 for padding, shape (batch, length);
            ``None`` says that nothing is padded, which is faster.
        pooling: ``cls`` takes the first position (eq. 4), ``mean`` all that are no padding.
        training: Whether dropout is on (the two views of eq. 5).

    Returns:
        Shape (batch, width), float32.
    """
    tokens = backbone.token_embedding(token_ids)
    positions = backbone.position_embedding(tokens)
    segments = backbone.segment_embedding(ops.zeros_like(token_ids))
    states = backbone.embeddings_add((tokens, positions, segments))
    states = backbone.embeddings_layer_norm(states)
    states = backbone.embeddings_dropout(states, training=training)
    for layer in backbone.transformer_layers:
        states = layer(states, padding_mask=padding_mask, training=training)
    # A sum over positions in bfloat16 would lose what the layers kept.
    return ops.normalize(pool(ops.cast(states, "float32"), padding_mask, pooling), axis=-1)


def pool(states: Any, padding_mask: Any | None, pooling: Pooling) -> Any:
    """One vector of each text, shape (batch, width); arguments as for ``encode_tokens``."""
    if pooling == "cls":
        return states[:, 0, :]
    if padding_mask is None:
        return ops.mean(states, axis=1)
    weights = ops.expand_dims(ops.cast(padding_mask, states.dtype), -1)
    return ops.sum(states * weights, axis=1) / ops.sum(weights, axis=1)


class TitleVectors(keras.layers.Layer):
    """Titles as strings to L2-normalised vectors, all in the graph, for export.

    The tokenizer's ops are ``FastWordpieceTokenize…``, ``NormalizeUTF8``,
    ``CaseFoldUTF8`` and ``RegexSplitWithOffsets`` of TensorFlow Text.

    Args:
        backbone: A ``keras_hub.models.BertBackbone``.
        packer: Maps strings (batch,) to ragged token ids (batch, None).
        pooling: ``cls`` or ``mean``.

    Call shapes:
        titles: (batch,) of ``tf.string``; returns (batch, width), float32.
    """

    def __init__(self, backbone: Any, packer: Any, pooling: Pooling, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.backbone = backbone
        self.packer = packer
        self.pooling = pooling
        self.built = True

    def call(self, titles: Any) -> Any:
        """Vectors of a batch of titles."""
        tokens = self.packer(titles)
        token_ids = tokens.to_tensor()
        padding_mask = ops.cast(
            ops.expand_dims(ops.arange(ops.shape(token_ids)[1]), 0)
            < ops.expand_dims(ops.cast(tokens.row_lengths(), "int32"), 1),
            "int32",
        )
        return encode_tokens(self.backbone, token_ids, padding_mask, self.pooling)
