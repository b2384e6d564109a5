"""SASRec over ids, beside a profile of the titles that a user has met."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.errors import SettingsError
from idp_tf.layers import CausalTransformer, JoinedItems, RecencyProfile, derive_seed
from idp_tf.models.base import SequenceModel, copy_weights
from idp_tf.models.sasrec import SASRec
from idp_tf.models.transformer_model import TransformerModel


@tf_keras.utils.register_keras_serializable("idp_tf")
class ProfiledSASRec(TransformerModel):
    """The score is SASRec's of the ids plus the weighted cosine of an item's title and a profile.

    The profile is the sum of the titles so far, recent ones counting for more
    (``RecencyProfile``). With titles centred on their catalogue (``CentredDirection``) it needs
    no training to be a good ranker, which is what it is here for: where nothing is known of a
    domain but titles, vectors of ids can only add to it. All of it can be trained: the ids,
    the transformer, the weight of the cosine and those of recency.

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        embedding_dim: Width of the vectors of ids and of the transformer.
        num_layers: Transformer layers.
        num_heads: Attention heads.
        dropout: Dropout rate.
        max_length: Longest history that is read.
        title_weight: What the cosine is multiplied by at first; trained. No default would do, as
            the right one depends on how far the scores of ids are spread. ``idp-id-t-zero-shot``
            has 500 (``idp_tf.systems.idp``): of what was tried on held-out source domains, that
            which leaves ids least to say (docs/results.md).
        seed: Seed of the transformer's initial weights and of dropout.
        items: Ids of width ``embedding_dim``, with titles of any width.
        **kwargs: As for ``TransformerModel``.

    Raises:
        SettingsError: if there are no titles or they weigh nothing, or the ids do not fit.

    Reference: the project's own; ID-centric Pre-training, section 3.6, adds titles shortened by
    PCA to generated ids instead.

    Example:
        >>> import numpy as np
        >>> from idp_tf.layers import IdItems, TitleItems
        >>> titles = TitleItems(np.concatenate([np.zeros((1, 12)), np.eye(10, 12)]), 4)
        >>> items = JoinedItems(IdItems(10, 8), titles)
        >>> model = ProfiledSASRec(10, embedding_dim=8, title_weight=5.0, items=items)
        >>> model.encode_users(np.array([[0, 0, 1, 2, 3]], np.int32)).shape
        TensorShape([1, 12])
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
        *,
        title_weight: float,
        seed: int = 0,
        items: JoinedItems | None = None,
        **kwargs: Any,
    ):
        if not isinstance(items, JoinedItems) or items.ids.dim != embedding_dim:
            raise SettingsError(
                f"titles beside ids of width {embedding_dim} are wanted, and not given",
                where="items",
                remedy="give JoinedItems(IdItems(…), TitleItems(title_vectors, …)); data without "
                "titles takes a system that reads ids alone, such as SASRec",
            )
        if title_weight <= 0:
            raise SettingsError(
                f"titles that weigh {title_weight}", where="title_weight", remedy="above 0"
            )
        transformer = CausalTransformer(
            num_layers, num_heads, max_length, dropout, seed=derive_seed(seed, 1), name="ids"
        )
        encoder = _WithProfile(transformer, embedding_dim, title_weight, name="encoder")
        super().__init__(num_items, items.dim, encoder, seed, items=items, **kwargs)
        # As they were given, for the config.
        self.embedding_dim = embedding_dim
        self.title_weight = title_weight

    def take_over(self, pretrained: SequenceModel) -> None:
        """Starts from the encoder of a ``SASRec`` of the same shape.

        Raises:
            SettingsError: if it is of another class or shape.
        """
        if not isinstance(pretrained, SASRec):
            raise SettingsError(
                f"ProfiledSASRec starts from a SASRec, not from a {type(pretrained).__name__}",
                where="take_over",
                remedy="pre-train a SASRec on ids",
            )
        copy_weights(pretrained.encoder, self.encoder.transformer)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``; see ``SequenceModel``."""
        return {**super().get_config(), "title_weight": self.title_weight}


class _WithProfile(tf_keras.layers.Layer):
    """A transformer over ids and a profile of titles, side by side."""

    def __init__(
        self, transformer: CausalTransformer, id_dim: int, title_weight: float, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.transformer = transformer
        self.num_layers = transformer.num_layers
        self.num_heads = transformer.num_heads
        self.max_length = transformer.max_length
        self.dropout = transformer.dropout
        self.id_dim = id_dim
        self.profile = RecencyProfile(self.max_length, name="profile")
        # As a logarithm, a step of the optimizer changes it by a share of what it is.
        self.log_weight = self.add_weight(
            name="log_weight",
            shape=(),
            initializer=tf_keras.initializers.Constant(math.log(title_weight)),
        )

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        ids, titles = inputs[..., : self.id_dim], inputs[..., self.id_dim :]
        hidden = self.transformer(ids, padding_mask=padding_mask, training=training)
        profile = self.profile(titles, padding_mask)
        weight = tf.cast(tf.exp(self.log_weight), profile.dtype)
        return tf.concat([tf.cast(hidden, profile.dtype), weight * profile], axis=-1)
