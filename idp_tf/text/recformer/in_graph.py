"""Recformer as a graph over item ids, for export."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from idp_tf.text.recformer.encoder import RecformerEncoder
from idp_tf.text.recformer.sentences import CLS_TYPE, KEY_TYPE, VALUE_TYPE, ItemSentences


class GraphRecformer:
    """What an export needs of a ``Recformer``, in TensorFlow's own ops alone.

    The word pieces of all titles lie in a table, so that the graph takes item ids as any
    recommender's does, and holds neither titles nor a tokenizer.

    Args:
        encoder: The encoder.
        sentences: The catalogue.
        item_vectors: Shape (num_items + 1, width), row 0 zeros.

    Attributes:
        max_length: How many of a user's last items are read.
        num_items: The number of items, padding not counted.
        encode_users: A ``tf.function`` from (batch, length) int32, oldest first, left-padded
            with 0, to (batch, width) float32, rows of length 1.

    Example:
        >>> graph = recformer.in_graph()  # doctest: +SKIP
        >>> export_recommender(graph, domain.item_ids, "export")  # doctest: +SKIP
    """

    def __init__(
        self,
        encoder: RecformerEncoder,
        sentences: ItemSentences,
        item_vectors: npt.NDArray[np.float32],
    ):
        self.max_length = encoder.max_items
        self.num_items = sentences.num_items
        self._encoder = encoder
        self._sentences = sentences
        self._item_vectors = item_vectors
        # Not constants, which are written out in the graph's own file.
        self._pieces = tf.Variable(sentences.values, trainable=False, name="title_pieces")
        self._offsets = tf.Variable(sentences.offsets, trainable=False, name="title_offsets")
        self.encode_users = tf.function(
            lambda item_ids: self._encoder.vectors(self.pack(item_ids)),
            input_signature=[tf.TensorSpec((None, None), tf.int32, name="item_ids")],
            autograph=False,
        )

    def item_vectors(self) -> npt.NDArray[np.float32]:
        """Shape (num_items + 1, width); row 0 is zeros."""
        return self._item_vectors

    def pack(self, item_ids: Any) -> dict[str, Any]:
        """``ItemSentences.pack`` on a tensor; arguments and results as there."""
        given = self._sentences
        items = item_ids[:, ::-1][:, : given.max_items]
        titles = tf.RaggedTensor.from_row_splits(self._pieces, self._offsets, validate=False)
        pieces = tf.gather(titles, items)
        # One row for each item of each history.
        each = pieces.values
        place = tf.ragged.range(each.row_lengths()).flat_values
        columns = each.value_rowids() % tf.shape(items, tf.int64)[1]

        def sentences(of_cls: int, of_pieces: Any) -> Any:
            whole = pieces.with_flat_values(tf.cast(of_pieces, tf.int32)).merge_dims(1, 2)
            kept = whole[:, : given.max_tokens - 1].to_tensor()
            return tf.pad(kept, [[0, 0], [1, 0]], constant_values=of_cls)

        return {
            "token_ids": sentences(given.cls_id, each.flat_values),
            "token_types": sentences(
                CLS_TYPE, tf.where(place < given.num_keys, KEY_TYPE, VALUE_TYPE)
            ),
            "item_positions": sentences(0, columns + 1),
            "padding_mask": sentences(1, tf.ones_like(place)),
        }
