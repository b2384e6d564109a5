"""UniSRec's pre-training: next items of any domain, and two views of each user."""

from __future__ import annotations

from typing import Any, Final

import tensorflow as tf
import tf_keras

from idp_tf.data.schema import PAD_ID
from idp_tf.layers import ItemDrop, PositionSample, derive_seed
from idp_tf.losses import ItemLoss, Items
from idp_tf.models.base import Batch
from idp_tf.models.step_items import MadeItems, looked_up
from idp_tf.models.unisrec import UniSRec, unit
from idp_tf.representation_losses import (
    SEQUENCE_WEIGHT,
    InBatchContrastive,
    in_batch_contrastive,
)

MAX_ROWS: Final = 2048
"""Positions of a batch that are compared with each other."""


@tf_keras.utils.register_keras_serializable("idp_tf")
class UniSRecPretraining(UniSRec):
    """UniSRec as it is pre-trained on merged domains, where negatives are those of the batch.

    Each position's representation is to be near to the next item, among those of the batch of
    whatever domain (``InBatchContrastive``). Each user's is to be near to that of the same
    history with items left out (``ItemDrop``), where the official code has every prefix's.

    Each item of a step is made into a vector once, wherever it stands: in histories, with items
    left out or not, and as a next item. So the adaptor's dropout and noise are drawn once for
    an item and step, where the official code draws them anew for each place.

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        embedding_dim: Width of item vectors and of the encoder.
        num_layers: Transformer layers.
        num_heads: Attention heads.
        dropout: Dropout rate.
        max_length: Longest history that is read.
        drop_rate: Share of items left out.
        max_rows: Positions of a batch that are trained on; of more, so many are drawn in each
            step. Memory and time grow with its square. The official batches have 8,192.
        seed: Seed of initial weights, dropout and what is left out.
        **kwargs: As for ``UniSRec``; ``loss``, which every model takes, is not looked at:
            logs call what it is trained by ``in-batch-contrastive``.

    Raises:
        SettingsError: if the items have no titles, or do not fit, or no row is allowed.

    Reference: ``UniSRec``'s, section 2.3; sequence-sequence weight and temperature are those
    of ``idp_tf.representation_losses``.

    Example:
        >>> import numpy as np
        >>> from idp_tf.layers import MoEAdaptor, TitleItems
        >>> titles = np.concatenate([np.zeros((1, 12)), np.eye(10, 12)])
        >>> items = TitleItems(titles, 8, MoEAdaptor(8, num_experts=2))
        >>> model = UniSRecPretraining(num_items=10, embedding_dim=8, items=items)
        >>> ids = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
        >>> model.compute_loss({"item_ids": ids, "positive_ids": ids + 1}).shape
        TensorShape([])
    """

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 2,
        dropout: float = 0.2,
        max_length: int = 50,
        drop_rate: float = 0.2,
        max_rows: int = MAX_ROWS,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(
            num_items,
            embedding_dim,
            num_layers,
            num_heads,
            dropout,
            max_length,
            seed=seed,
            **kwargs,
        )
        self.drop_rate = drop_rate
        self.max_rows = max_rows
        self.item_drop = ItemDrop(drop_rate, seed=derive_seed(seed, 2), name="item_drop")
        self.row_sample = PositionSample(max_rows, seed=derive_seed(seed, 3), name="row_sample")

    def build_item_loss(self) -> ItemLoss:
        """The sequence-item loss, whatever the settings have."""
        return InBatchContrastive()

    def training_outputs(self, inputs: Batch, training: bool) -> tuple[tf.Tensor, Batch]:
        """Makes the step's items; leaves positives out that are too many.

        The batch gets ``last_ids``, each user's last positive, and ``distinct_ids`` of the
        step's items, (n,) ascending, with ``distinct_vectors``, (n, dim), zeros for padding.
        """
        item_ids, positive_ids = inputs["item_ids"], inputs["positive_ids"]
        found = tf.reshape(tf.stack([item_ids, positive_ids]), [-1])
        # Padding too: histories with items left out may be the only ones that have any.
        ids = tf.sort(tf.unique(tf.concat([[tf.cast(PAD_ID, found.dtype)], found], 0)).y)
        batch = {
            **inputs,
            "positive_ids": self.row_sample(positive_ids) if training else positive_ids,
            "last_ids": positive_ids[:, -1],
            "distinct_ids": ids,
            "distinct_vectors": self.input_vectors(ids, training=training),
        }
        return self._users(item_ids, batch, training), batch

    def items_of_step(self, batch: Batch, training: bool) -> Items:
        """Those of ``training_outputs``, at length 1."""
        vectors = unit(tf.cast(batch["distinct_vectors"], tf.float32))
        return MadeItems(self, training, batch["distinct_ids"], vectors)

    def added_loss(self, hidden: tf.Tensor, batch: Batch) -> tf.Tensor:
        """The weighted sequence-sequence loss, over whole histories; a scalar."""
        augmented = self._users(self.item_drop(batch["item_ids"]), batch, training=True)
        to_sequences = in_batch_contrastive(hidden[:, -1], augmented[:, -1], batch["last_ids"])
        return SEQUENCE_WEIGHT * to_sequences

    def _users(self, item_ids: tf.Tensor, batch: Batch, training: bool) -> tf.Tensor:
        vectors = looked_up(item_ids, batch["distinct_ids"], batch["distinct_vectors"])
        return self.encoded(vectors, item_ids, training=training)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {**super().get_config(), "drop_rate": self.drop_rate, "max_rows": self.max_rows}
