"""External ids in a graph: which items a request names, and what an answer calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from idp_tf.data.schema import PAD_ID


class Catalogue:
    """The ids of items 1 … num_items, in the order of their vectors.

    Ids are held once in a graph, however many signatures read them.

    Args:
        external_ids: Each once.

    Attributes:
        resources: What must live as long as the functions that use this.
    """

    def __init__(self, external_ids: Sequence[str]):
        self.num_items = len(external_ids)
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(external_ids), tf.range(1, self.num_items + 1, dtype=tf.int32)
            ),
            default_value=PAD_ID,
        )
        # Row 0 of the names stands for "no item". Made here, all graphs capture the same.
        self._names = tf.constant(["", *external_ids])
        self.resources: list[Any] = [self._table]

    def lookup(self, item_ids: tf.Tensor) -> tf.Tensor:
        """Strings of any shape -> internal ids, int32; 0 for "" and what is unknown."""
        return self._table.lookup(item_ids)

    def names(self, rows: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
        """Rows (from 0) of ranked items -> their ids; "" where the score is not finite."""
        return tf.where(tf.math.is_finite(scores), tf.gather(self._names, rows + 1), "")

    def mask(self, item_ids: tf.Tensor) -> tf.Tensor:
        """Lists of ids (batch, width) -> which items each allows, (batch, num_items) bool.

        A list of nothing but "", or of no width, allows all; one that names no known item
        allows none.
        """
        ids = self.lookup(item_ids)
        places = tf.where(ids != PAD_ID)
        columns = tf.cast(tf.gather_nd(ids, places), tf.int64) - 1
        named = tf.tensor_scatter_nd_update(
            tf.zeros([tf.shape(ids)[0], self.num_items], tf.bool),
            tf.stack([places[:, 0], columns], axis=1),
            tf.ones_like(columns, tf.bool),
        )
        return named | tf.reduce_all(item_ids == "", axis=1, keepdims=True)
