"""DACDR: what domains share, learned from titles, beside what is an item's own."""

from __future__ import annotations

from typing import Any, Final

import tensorflow as tf
import tf_keras

from idp_tf.data.schema import PAD_ID
from idp_tf.errors import SettingsError
from idp_tf.layers import CausalTransformer, JoinedItems, derive_seed
from idp_tf.models.base import Batch, SequenceModel, copy_weights
from idp_tf.models.items import checked_joined
from idp_tf.representation_losses import orthogonality

ORTHOGONALITY_WEIGHT: Final = 0.1


@tf_keras.utils.register_keras_serializable("idp_tf")
class DACDR(SequenceModel):
    """Deep dual adversarial network: shared representations of titles, specific ones of ids.

    One transformer reads titles and is what domains share; another reads ids and is the
    domain's own. A user is both outputs side by side, an item both of its vectors, so a score
    is the sum of the two parts' scores. In training the two parts of a user, and of an item,
    are kept orthogonal. The adversary is ``DACDRPretraining``'s, for a model of several
    domains; one for a target begins with ``take_over`` of what that learned.

    Of the paper the abstract was read, and no code was found. It says, and this does: encoders
    that the domains share are trained against a domain discriminator, for users and for items
    alike ("dual"); domain-specific ones beside them supplement what is shared, under an
    orthogonal constraint. The common features are titles by the paper of ID-centric
    Pre-training, section 3.3. Decided here: titles alone are shared and ids alone specific;
    both encoders are SASRec's; the two parts' scores are added; the constraint is
    ``orthogonality``, over all positions with a next item and over those items, and its weight.

    What it cannot do as published: there a source and a target are trained jointly, and each
    gains from the other. Here all sources come first and the target afterwards, as for every
    transferring system of this package; so the adversary never sees the target, and sources
    have one specific encoder together, apart by their ids.

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        embedding_dim: Width of a part: of title vectors and id embeddings, and of both
            transformers. Users and items are twice as wide.
        num_layers: Transformer layers in each of the two.
        num_heads: Attention heads.
        dropout: Dropout rate.
        max_length: Longest history that is read.
        orthogonality_weight: What users' and items' ``orthogonality`` are multiplied by before
            training adds them to the item loss.
        loss: The item loss, one of ``idp_tf.losses.LOSSES``.
        seed: Seed of the encoder's initial weights and of dropout.
        items: Ids and titles, both of width ``embedding_dim``.
        **kwargs: Keras's.

    Raises:
        SettingsError: if there are no titles, or they do not fit.

    Reference: Zhang et al. 2021, "A Deep Dual Adversarial Network for Cross-Domain
    Recommendation", TKDE, https://doi.org/10.1109/TKDE.2021.3132953.

    Example:
        >>> import numpy as np
        >>> from idp_tf.layers import IdItems, TitleItems
        >>> titles = np.concatenate([np.zeros((1, 12)), np.eye(10, 12)])
        >>> items = JoinedItems(IdItems(10, 8, seed=1), TitleItems(titles, 8, seed=2))
        >>> model = DACDR(num_items=10, embedding_dim=8, max_length=5, items=items)
        >>> model.encode_users(np.array([[0, 0, 1, 2, 3]], np.int32)).shape
        TensorShape([1, 16])
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
        orthogonality_weight: float = ORTHOGONALITY_WEIGHT,
        loss: str = "bpr",
        seed: int = 0,
        items: JoinedItems | None = None,
        **kwargs: Any,
    ):
        items = checked_joined(items, embedding_dim, "DACDR")
        specific, shared = (
            CausalTransformer(num_layers, num_heads, max_length, dropout, derive_seed(seed, 1, i))
            for i in range(2)
        )
        super().__init__(
            num_items,
            items.dim,
            max_length,
            _SpecificAndShared(specific, shared, name="encoder"),
            loss=loss,
            seed=seed,
            items=items,
            **kwargs,
        )
        # As it was given, for the config.
        self.embedding_dim = embedding_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.dropout = dropout
        self.orthogonality_weight = orthogonality_weight

    def added_loss(self, hidden: tf.Tensor, batch: Batch) -> tf.Tensor:
        """``representation_loss`` of every position that has a next item, and of that item."""
        real = tf.not_equal(batch["positive_ids"], PAD_ID)
        item_ids = tf.boolean_mask(batch["positive_ids"], real)
        return self.representation_loss(
            tf.boolean_mask(hidden, real), self.vectors_of(item_ids, training=True), item_ids
        )

    def representation_loss(
        self, users: tf.Tensor, items: tf.Tensor, item_ids: tf.Tensor
    ) -> tf.Tensor:
        """What training asks of representations beside good scores, a scalar.

        Args:
            users: The encoder's outputs where there is a next item, (n, 2 dim).
            items: Those next items, (n, 2 dim).
            item_ids: Their ids, (n,).
        """
        parts = [parts_of(users), parts_of(items)]
        return self.orthogonality_weight * tf.add_n([orthogonality(*pair) for pair in parts])

    def take_over(self, pretrained: SequenceModel) -> None:
        """Starts from what domains share: the titles' encoder and their adaptor.

        Ids, and the encoder of ids, stay as they are; dropout keeps this model's own masks.

        Args:
            pretrained: A ``DACDR`` of the same shape but for its items, such as
                ``DACDRPretraining``, whose titles are by the same text encoder.

        Raises:
            SettingsError: if it is of another class, or its weights do not fit.
        """
        if not isinstance(pretrained, DACDR):
            raise SettingsError(
                f"a {type(self).__name__} cannot start from a {type(pretrained).__name__}",
                where="take_over",
                remedy="pre-train a DACDRPretraining",
            )
        copy_weights(pretrained.encoder.shared, self.encoder.shared)
        copy_weights(pretrained.items.adaptor, self.items.adaptor)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``; see ``SequenceModel``."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "orthogonality_weight": self.orthogonality_weight,
        }


class _SpecificAndShared(tf_keras.layers.Layer):
    """Two encoders, of ids and of titles, each of its half: (batch, length, 2 dim) in and out."""

    def __init__(
        self, specific: tf_keras.layers.Layer, shared: tf_keras.layers.Layer, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.specific = specific
        self.shared = shared

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        ids, titles = parts_of(inputs)
        by_ids = self.specific(ids, padding_mask=padding_mask, training=training)
        by_titles = self.shared(titles, padding_mask=padding_mask, training=training)
        return tf.concat([by_ids, by_titles], axis=-1)


def parts_of(vectors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The specific and the shared part of users or items: (…, 2 dim) -> twice (…, dim)."""
    specific, shared = tf.split(vectors, 2, axis=-1)
    return specific, shared
