"""BERT4Rec, trained to guess masked items from both sides."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.data.schema import PAD_ID
from idp_tf.layers import INITIAL_STDDEV, BidirectionalTransformer, ClozeMask, derive_seed
from idp_tf.models.base import Batch, masked_vectors
from idp_tf.models.transformer_model import TransformerModel


@tf_keras.utils.register_keras_serializable("idp_tf")
class BERT4Rec(TransformerModel):
    """Bidirectional self-attention over a history in which some items are masked.

    It is trained on the batches of every other model, whose histories are masked in the graph
    (``ClozeMask``), and by any loss, at the masked items. Outside of training the last item
    alone is masked: the loss is then that of what ``encode_users`` is for. As batches have
    nothing to compare a user's first item with, that is never masked.

    The head is that of the official code but for its output bias for each item, as a score is a
    dot product. Inputs may hold the id ``num_items + 1``, the mask, whose vector is the
    encoder's, so that the table of items is as every model's.

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        embedding_dim: Width of item embeddings and of the encoder.
        num_layers: Transformer layers.
        num_heads: Attention heads.
        dropout: Dropout rate, 0.1 or 0.2 in the official settings, but for Beauty 0.5, and 0.2
            on attention weights.
        max_length: Longest sequence that is read, a mask counted.
        mask_rate: Share of items that are masked; the paper has 0.2 for long histories, 0.4
            and 0.6 for short ones.
        seed: Seed of initial weights, dropout and masks.
        **kwargs: As for ``TransformerModel``; the ``loss`` ``cross-entropy`` is the original's,
            ``bpr`` that of ID-centric Pre-training for all baselines.

    Raises:
        SettingsError: if the mask rate is impossible.

    Reference: Sun et al. 2019, https://arxiv.org/abs/1904.06690; github.com/FeiSun/BERT4Rec.

    Example:
        >>> import numpy as np
        >>> model = BERT4Rec(num_items=10, embedding_dim=8, max_length=5)
        >>> model.encode_users(np.array([[0, 0, 1, 2, 3]], np.int32)).shape
        TensorShape([1, 8])
    """

    causal = False

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 2,
        dropout: float = 0.2,
        max_length: int = 50,
        mask_rate: float = 0.2,
        seed: int = 0,
        **kwargs: Any,
    ):
        encoder = BidirectionalTransformer(
            num_layers, num_heads, max_length, dropout, seed=derive_seed(seed, 1), name="encoder"
        )
        # The mask's vector must be there before the encoder is first called.
        encoder.build(tf.TensorShape([None, None, embedding_dim]))
        # Items that are given have made their own table.
        if kwargs.get("embeddings_initializer") is None and kwargs.get("items") is None:
            kwargs["embeddings_initializer"] = tf_keras.initializers.TruncatedNormal(
                stddev=INITIAL_STDDEV, seed=derive_seed(seed, 0)
            )
        super().__init__(num_items, embedding_dim, encoder, seed, **kwargs)
        self.mask_rate = mask_rate
        self.cloze = ClozeMask(mask_rate, seed=derive_seed(seed, 2), name="cloze")

    @property
    def mask_id(self) -> int:
        """The id that stands for a masked item."""
        return self.num_items + 1

    def input_vectors(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """What the encoder reads: (batch, length) int32 -> (batch, length, dim)."""
        masked = tf.equal(item_ids, self.mask_id)
        embeddings = super().input_vectors(tf.where(~masked, item_ids, PAD_ID), training=training)
        mask = tf.cast(self.encoder.mask_vector, embeddings.dtype)
        return tf.where(masked[..., None], mask, embeddings)

    @tf.function(autograph=False, reduce_retracing=True)
    def encode_users(self, item_ids: tf.Tensor) -> tf.Tensor:
        """User representations: (batch, length) int32, padded on the left -> (batch, dim).

        That of a mask after the last item. Of ``max_length`` items the first is left out.
        """
        item_ids = self.checked(item_ids)
        mask = tf.fill([tf.shape(item_ids)[0], 1], tf.cast(self.mask_id, item_ids.dtype))
        return self(tf.concat([item_ids, mask], 1)[:, -self.max_length :], training=False)[:, -1]

    def encode_vectors(self, vectors: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
        """See ``SequenceModel``; as in ``encode_users``, a mask comes after the last vector."""
        self._check_reads_ids_alone()
        vectors, item_ids = masked_vectors(vectors, known)
        rows = tf.shape(item_ids)[0]
        mask = tf.cast(self.encoder.mask_vector, vectors.dtype)
        masks = tf.broadcast_to(mask, [rows, 1, self.embedding_dim])
        vectors = tf.concat([vectors, masks], axis=1)[:, -self.max_length :]
        item_ids = tf.concat([item_ids, tf.fill([rows, 1], self.mask_id)], axis=1)
        return self.encoded(vectors, item_ids[:, -self.max_length :], training=False)[:, -1]

    def training_outputs(self, inputs: Batch, training: bool) -> tuple[tf.Tensor, Batch]:
        """Masks some of the items that are positives; the others are none any more."""
        item_ids, positive_ids = inputs["item_ids"], inputs["positive_ids"]
        chosen = self.cloze(tf.not_equal(positive_ids, PAD_ID), training=training)
        following = tf.concat([item_ids[:, 1:], positive_ids[:, -1:]], axis=1)
        masked = tf.where(chosen, tf.cast(self.mask_id, following.dtype), following)
        sequence = tf.concat([item_ids[:, :1], masked], axis=1)[:, -self.max_length :]
        # Aligned with the positives: the item in front, where there is one, is none.
        hidden = self(sequence, training=training)[:, -tf.shape(positive_ids)[1] :]
        return hidden, {**inputs, "positive_ids": tf.where(chosen, positive_ids, PAD_ID)}

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``, but for the initializer."""
        return {**super().get_config(), "mask_rate": self.mask_rate}
