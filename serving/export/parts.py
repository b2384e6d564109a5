"""What the signatures of a recommender share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from idp_tf.data.schema import PAD_ID
from serving.export.catalogue import Catalogue
from serving.export.item_table import ItemTable
from serving.export.ranking import Ranker
from serving.export.requests import last_known

Encoder = Callable[[tf.Tensor], tf.Tensor]
"""Internal ids (batch, max_length), padded on the left -> users (batch, dim)."""


class Recommends(Protocol):
    """What an export needs of a model; every ``SequenceModel`` has it."""

    max_length: int
    num_items: int

    def encode_users(self, item_ids: Any) -> Any:
        """(batch, length) int32, padded on the left -> (batch, dim)."""

    def item_vectors(self) -> Any:
        """(num_items + 1, dim); row 0 is padding."""


class Parts(NamedTuple):
    """See the module."""

    encode: Encoder
    max_length: int
    catalogue: Catalogue
    items: ItemTable
    rank: Ranker

    def users(self, history: tf.Tensor) -> tf.Tensor:
        """Internal ids (batch, length), 0 anywhere -> users (batch, dim); zeros of no items."""
        users = self.encode(last_known(history, self.max_length))
        # An encoder may make anything of no items at all.
        return tf.where((num_known(history) > 0)[:, None], users, 0.0)


def num_known(history: tf.Tensor) -> tf.Tensor:
    """How many of the internal ids (batch, length) are items, (batch,) int32."""
    return tf.math.count_nonzero(history, axis=1, dtype=tf.int32)


def user_encoder(model: Recommends, items: ItemTable) -> Encoder:
    """The model's encoder; histories read the export's table where the model's is the same.

    So a model that reads ids alone is exported with one table, quantised or not.
    """
    if not getattr(model, "reads_ids_alone", False):
        return model.encode_users
    encode_vectors = model.encode_vectors  # type: ignore[attr-defined]

    def encode(history: tf.Tensor) -> tf.Tensor:
        known = tf.not_equal(history, PAD_ID)
        return encode_vectors(items.rows(tf.maximum(history - 1, 0)), known)

    return encode
