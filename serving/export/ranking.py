"""Top-k over item vectors in a graph, seen items left out, with ``k`` as a tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_recommenders.layers import factorized_top_k

from idp_tf.data.schema import PAD_ID
from idp_tf.retrieval import Index, choose_scann_settings
from serving.export.item_table import ItemTable
from serving.export.requests import NO_SCORE

CANDIDATES_PER_RESULT: Final = 20
LEAST_CANDIDATES: Final = 200
"""ScaNN proposes max(20 k, 200) items beyond the seen ones, as ``idp_tf.retrieval`` has it."""


class Ranker(Protocol):
    """The best items of users, best first, equal scores by row."""

    def __call__(
        self, users: tf.Tensor, seen: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and rows, (batch, k); -inf where no item is left.

        Args:
            users: (batch, dim).
            seen: Internal ids that are left out, 0: none; (batch, length).
            k: A scalar.
            allowed: Which items may be given, (batch or 1, num_items) bool.
        """
        ...


def exact_ranker(items: ItemTable) -> Ranker:
    """One product with every item vector, then top-k."""

    def rank(
        users: tf.Tensor, seen: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return _exact(items, users, seen, k, allowed)

    return rank


def scann_ranker(items: ItemTable, vectors: npt.NDArray[np.float32]) -> Ranker:
    """ScaNN over the vectors (num_items, dim) proposes items, whose exact scores rank them.

    The TFRS layer has no reordering of its own: it would fix, when the index is built,
    how many items a request can get. Its scores are compressed ones, so the proposed
    items are scored again from the table. A row in which fewer than ``k`` unseen
    items were proposed (a ``k`` beyond the leaves that are searched) is answered exactly,
    and so is one that allows a part of the items: ScaNN would propose others.
    """
    propose = _proposer(vectors)

    def rank(
        users: tf.Tensor, seen: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        # A wrong width would reach ScaNN as an internal error.
        users = tf.ensure_shape(users, (None, items.dim))
        rows, proposed = propose(users, seen, k)
        scores, rows = _score_again(items, users, seen, rows, proposed, k)
        exactly = tf.reduce_any(tf.math.is_inf(scores), axis=1)
        if allowed is not None:
            exactly |= ~tf.reduce_all(allowed, axis=1)
        answer: tuple[tf.Tensor, tf.Tensor] = tf.cond(
            tf.reduce_any(exactly),
            lambda: _where_rows(exactly, _exact(items, users, seen, k, allowed), (scores, rows)),
            lambda: (scores, rows),
        )
        return answer

    return rank


def _proposer(
    vectors: npt.NDArray[np.float32],
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Users, seen ids and k -> rows that ScaNN finds near, and which of them count."""
    num_items = len(vectors)
    settings = choose_scann_settings(num_items, 1)
    layer = factorized_top_k.ScaNN(
        num_leaves=settings.num_leaves,
        num_leaves_to_search=settings.num_leaves_to_search,
        dimensions_per_block=settings.dimensions_per_block,
    )
    layer.index(tf.constant(vectors))
    # A ScaNN layer that was never asked cannot be saved.
    layer(tf.constant(vectors[:1]), k=1)

    def propose(users: tf.Tensor, seen: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        num_seen = tf.math.count_nonzero(seen, axis=1, dtype=tf.int32)
        # Minimum first: 20 k may not fit into 32 bits.
        wanted = tf.maximum(CANDIDATES_PER_RESULT * tf.minimum(k, num_items), LEAST_CANDIDATES)
        # The 0 in front stands for a batch of no rows.
        most_seen = tf.reduce_max(tf.concat([[0], num_seen], axis=0))
        distances, rows = layer(users, k=tf.minimum(wanted + most_seen, num_items))
        # What a row gets must not depend on how much its neighbours in the batch have seen.
        rank_of = tf.range(tf.shape(rows)[1])[None]
        return rows, tf.math.is_finite(distances) & (rank_of < (wanted + num_seen)[:, None])

    return propose


def match_ranker(index: Index) -> Callable[[tf.Tensor, int], tuple[tf.Tensor, tf.Tensor]]:
    """``Index.query`` in a graph: vectors (batch, width) and k -> scores and rows (batch, k).

    Where ScaNN meets fewer than ``k`` vectors for a query, that query is answered exactly.
    """
    if index.method == "exact":
        exact_layer = index.layer
        return lambda queries, k: exact_layer(queries, k=k)
    layer = index.layer
    items = tf.Variable(index.vectors, trainable=False, name="title_vectors")

    def rank(queries: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        scores, rows = layer(queries, k=k)
        # ScaNN narrows its answer, and fills with NaN, where it met fewer than k vectors.
        gap = [[0, 0], [0, k - tf.shape(scores)[1]]]
        scores = tf.ensure_shape(tf.pad(scores, gap, constant_values=np.nan), (None, k))
        rows = tf.ensure_shape(tf.pad(rows, gap), (None, k))
        short = tf.reduce_any(~tf.math.is_finite(scores), axis=1)
        answer: tuple[tf.Tensor, tf.Tensor] = tf.cond(
            tf.reduce_any(short),
            lambda: _where_rows(
                short,
                tf.math.top_k(tf.matmul(queries, items, transpose_b=True), k=k),
                (scores, rows),
            ),
            lambda: (scores, rows),
        )
        return answer

    return rank


def _exact(
    items: ItemTable,
    users: tf.Tensor,
    seen: tf.Tensor,
    k: tf.Tensor,
    allowed: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    scores = items.scores(users)
    if allowed is not None:
        scores = tf.where(allowed, scores, NO_SCORE)
    places = tf.where(seen != PAD_ID)
    columns = tf.cast(tf.gather_nd(seen, places), tf.int64) - 1
    scores = tf.tensor_scatter_nd_update(
        scores,
        tf.stack([places[:, 0], columns], axis=1),
        tf.fill(tf.shape(columns), NO_SCORE),
    )
    # top_k gives the lower index first among equals.
    scores, rows = tf.math.top_k(scores, k=k)
    return scores, rows


def _score_again(
    items: ItemTable,
    users: tf.Tensor,
    seen: tf.Tensor,
    rows: tf.Tensor,
    proposed: tf.Tensor,
    k: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Exact scores of the proposed rows (batch, candidates), and the best k of them."""
    # Sorted by row, so that equal scores come out by row; what is missing goes to the end.
    rows = tf.sort(tf.where(proposed, rows, items.num_items), axis=1)
    missing = rows >= items.num_items
    rows = tf.where(missing, 0, rows)
    scores = tf.einsum("bd,bcd->bc", users, items.rows(rows))
    was_seen = tf.reduce_any((rows + 1)[:, :, None] == seen[:, None, :], axis=2)
    scores = tf.where(missing | was_seen, NO_SCORE, scores)
    # At least k columns, whatever ScaNN found.
    gap = tf.maximum(k - tf.shape(rows)[1], 0)
    scores = tf.pad(scores, [[0, 0], [0, gap]], constant_values=NO_SCORE)
    rows = tf.pad(rows, [[0, 0], [0, gap]])
    scores, places = tf.math.top_k(scores, k=k)
    return scores, tf.gather(rows, places, batch_dims=1)


def _where_rows(
    rows: tf.Tensor, chosen: tuple[tf.Tensor, tf.Tensor], other: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    scores = tf.where(rows[:, None], chosen[0], other[0])
    return scores, tf.where(rows[:, None], chosen[1], other[1])
