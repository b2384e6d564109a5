"""DACDR's pre-training: two classifiers that are to tell domains apart, and must not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import tensorflow as tf
import tf_keras

from idp_tf.errors import SettingsError
from idp_tf.layers import DomainClassifier, GrowingStrength, JoinedItems, derive_seed
from idp_tf.losses import mean_over_replicas
from idp_tf.models.dacdr import DACDR, ORTHOGONALITY_WEIGHT, parts_of

ADVERSARIAL_WEIGHT: Final = 0.1
WARMUP_STEPS: Final = 1000


@tf_keras.utils.register_keras_serializable("idp_tf")
class DACDRPretraining(DACDR):
    """``DACDR`` on several domains at once, whose shared parts hide which one they are of.

    One ``DomainClassifier`` reads the shared part of users, another that of items ("dual").
    Each learns to tell domains apart; through its reversed gradient the titles' encoder, and
    the titles' adaptor, learn to make them alike. Ids and their encoder get nothing of it.

    Decided here beside what ``DACDR`` and ``DomainClassifier`` name: users count at every
    position that has a next item, as in the item loss, and items as they are those next items;
    a classifier is noise until it has learned something, so its reversal grows from 0 to 1
    over the first steps, a number of them that does not depend on when a training stops early;
    the weight.

    Args:
        num_items: Items of all domains, 1 … num_items; 0 is padding.
        item_offsets: Where each domain's ids begin and the last one's end, as
            ``MergedDomains.item_offsets``: ``item_offsets[d] + 1`` … ``item_offsets[d + 1]``
            are domain ``d``'s.
        embedding_dim: Width of a part; users and items are twice as wide.
        num_layers: Transformer layers in each of the two encoders.
        num_heads: Attention heads.
        dropout: Dropout rate.
        max_length: Longest history that is read.
        orthogonality_weight: Of users' and items' orthogonality.
        adversarial_weight: What both classifiers' cross-entropies are multiplied by before
            training adds them to ``DACDR``'s loss.
        warmup_steps: Steps of the ``GrowingStrength`` of the reversals.
        loss: The item loss.
        seed: Seed of the initial weights of encoder and classifiers, and of dropout.
        items: Ids and titles, both of width ``embedding_dim``.
        **kwargs: Keras's.

    Raises:
        SettingsError: if the offsets are not those of two domains at least and ``num_items``
            items, or as ``DACDR`` does.

    Reference: see ``DACDR``.

    Example:
        >>> import numpy as np
        >>> from idp_tf.layers import IdItems, JoinedItems, TitleItems
        >>> titles = np.concatenate([np.zeros((1, 12)), np.eye(10, 12)])
        >>> items = JoinedItems(IdItems(10, 8, seed=1), TitleItems(titles, 8, seed=2))
        >>> model = DACDRPretraining(10, item_offsets=(0, 4, 10), embedding_dim=8, items=items)
        >>> model.domain_of(tf.constant([1, 4, 5, 10])).numpy().tolist()
        [0, 0, 1, 1]
    """

    def __init__(
        self,
        num_items: int,
        item_offsets: Sequence[int],
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 2,
        dropout: float = 0.2,
        max_length: int = 50,
        orthogonality_weight: float = ORTHOGONALITY_WEIGHT,
        adversarial_weight: float = ADVERSARIAL_WEIGHT,
        warmup_steps: int = WARMUP_STEPS,
        loss: str = "bpr",
        seed: int = 0,
        items: JoinedItems | None = None,
        **kwargs: Any,
    ):
        offsets = _checked_offsets(item_offsets, num_items)
        super().__init__(
            num_items,
            embedding_dim,
            num_layers,
            num_heads,
            dropout,
            max_length,
            orthogonality_weight,
            loss,
            seed,
            items,
            **kwargs,
        )
        self.item_offsets = offsets
        self.adversarial_weight = adversarial_weight
        self.warmup_steps = warmup_steps
        self.user_classifier, self.item_classifier = (
            DomainClassifier(
                len(offsets) - 1,
                strength=GrowingStrength(warmup_steps),
                seed=derive_seed(seed, 2, i),
                name=f"{name}_classifier",
            )
            for i, name in enumerate(("user", "item"))
        )
        # Their weights exist from here on, as the rest does.
        for classifier in (self.user_classifier, self.item_classifier):
            classifier(tf.zeros((1, self.embedding_dim)))

    def representation_loss(
        self, users: tf.Tensor, items: tf.Tensor, item_ids: tf.Tensor
    ) -> tf.Tensor:
        """``DACDR``'s, and the weighted cross-entropies of both classifiers, a scalar."""
        domains = self.domain_of(item_ids)
        by_users = _classification_loss(self.user_classifier, users, domains)
        by_items = _classification_loss(self.item_classifier, items, domains)
        apart = super().representation_loss(users, items, item_ids)
        return apart + self.adversarial_weight * (by_users + by_items)

    def domain_of(self, item_ids: tf.Tensor) -> tf.Tensor:
        """The index of each item's domain: (n,) ids of items, not padding -> (n,) int32."""
        offsets = tf.constant(self.item_offsets, item_ids.dtype)
        return tf.searchsorted(offsets, item_ids, side="left") - 1

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``; see ``SequenceModel``."""
        return {
            **super().get_config(),
            "item_offsets": self.item_offsets,
            "adversarial_weight": self.adversarial_weight,
            "warmup_steps": self.warmup_steps,
        }


def _classification_loss(
    classifier: DomainClassifier, vectors: tf.Tensor, domains: tf.Tensor
) -> tf.Tensor:
    """The mean cross-entropy of a classifier that sees the shared parts of (n, 2 dim)."""
    _, shared = parts_of(vectors)
    logits = tf.cast(classifier(shared, training=True), tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(domains, logits)
    return mean_over_replicas(losses, tf.ones_like(losses))


def _checked_offsets(item_offsets: Sequence[int], num_items: int) -> tuple[int, ...]:
    offsets = tuple(int(offset) for offset in item_offsets)
    ascending = all(first < second for first, second in pairwise(offsets))
    if len(offsets) < 3 or not ascending or offsets[0] != 0 or offsets[-1] != num_items:
        raise SettingsError(
            f"{offsets} are not the bounds of two or more domains of {num_items} items",
            where="item_offsets",
            remedy="give 0, then the number of items up to the end of each domain, such as "
            "MergedDomains.item_offsets; with one domain there is nothing to tell apart",
        )
    return offsets
