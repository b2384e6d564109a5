"""What a table in fewer bytes costs: how much of the recommendations stays."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from idp_tf.data.sequences import Sequences
from serving.export.item_table import ItemTable
from serving.export.parts import Recommends, user_encoder
from serving.export.ranking import exact_ranker

K: Final = 10
MOST_USERS: Final = 10_000
"""Of more users as many are asked, evenly taken."""

_BLOCK_USERS: Final = 256


def quantisation_notes(
    model: Recommends,
    vectors: npt.NDArray[np.float32],
    items: ItemTable,
    sequences: Sequences | None,
) -> dict[str, Any]:
    """Bytes of a table and, over users' whole histories, the share of the top 10 that it keeps.

    Args:
        model: The exported model.
        vectors: Its item vectors, (num_items, dim).
        items: The table that holds them.
        sequences: Users of the model's domain; None leaves the share out.
    """
    notes: dict[str, Any] = {
        "table": items.dtype,
        "table_bytes": items.nbytes,
        "float32_table_bytes": vectors.nbytes,
    }
    if sequences is None or items.dtype == "float32":
        return notes
    users = np.unique(
        np.linspace(0, sequences.num_users - 1, min(MOST_USERS, sequences.num_users)).astype(int)
    )
    exact = _best_rows(model, ItemTable(vectors), sequences, users)
    kept = _best_rows(model, items, sequences, users)
    shared = (exact[:, :, None] == kept[:, None, :]).any(axis=2).mean()
    return {**notes, "overlap_at_10": float(shared), "overlap_users": len(users)}


def _best_rows(
    model: Recommends, items: ItemTable, sequences: Sequences, users: npt.NDArray[np.int64]
) -> npt.NDArray[np.int32]:
    """The best K unseen rows of each user, (num_users, K); fewer where there are fewer items."""
    encode, rank = user_encoder(model, items), exact_ranker(items)
    k = tf.constant(min(K, items.num_items))
    found = []
    for start in range(0, len(users), _BLOCK_USERS):
        block = users[start : start + _BLOCK_USERS]
        history = sequences.left_padded(block, int(sequences.lengths[block].max()))
        window = sequences.left_padded(block, model.max_length)
        _, rows = rank(encode(tf.constant(window)), tf.constant(history), k)
        found.append(rows.numpy())
    return np.concatenate(found)
