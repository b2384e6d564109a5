"""Top-k over item vectors in a graph, seen items left out, with ``k`` as a tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_recommenders.layers import factorized_top_k

from idp_tf.data.schema import PAD_ID
from idp_tf.retrieval import Index, choose_scann_settings

Ranker = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""Users (batch, dim), seen internal ids (batch, length; 0: none) and k -> scores and rows
(batch, k), best first, equal scores by row; -inf where no unseen item is left."""

CANDIDATES_PER_RESULT: Final = 20
LEAST_CANDIDATES: Final = 200
"""ScaNN proposes max(20 k, 200) items beyond the seen ones, as ``idp_tf.retrieval`` has it."""

_NO_SCORE: Final = float("-inf")


def exact_ranker(vectors: npt.NDArray[np.float32]) -> Ranker:
    """One product with every item vector (num_items, dim), then top-k."""
    items = tf.Variable(vectors, trainable=False, name="item_vectors")

    def rank(users: tf.Tensor, seen: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _exact(items, users, seen, k)

    return rank


def scann_ranker(vectors: npt.NDArray[np.float32]) -> Ranker:
    """ScaNN proposes items (num_items, dim), and their exact scores rank them.

    The TFRS layer has no reordering of its own: it would fix, when the index is built,
    how many items a request can get. Its scores are compressed ones, so the proposed
    items are scored again from the vectors. A row in which fewer than ``k`` unseen
    items were proposed (a ``k`` beyond the leaves that are searched) is answered exactly.
    """
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
    items = tf.Variable(vectors, trainable=False, name="item_vectors")

    def rank(users: tf.Tensor, seen: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # A wrong width would reach ScaNN as an internal error.
        users = tf.ensure_shape(users, (None, vectors.shape[1]))
        num_seen = tf.math.count_nonzero(seen, axis=1, dtype=tf.int32)
        # Minimum first: 20 k may not fit into 32 bits.
        wanted = tf.maximum(CANDIDATES_PER_RESULT * tf.minimum(k, num_items), LEAST_CANDIDATES)
        # The 0 in front stands for a batch of no rows.
        most_seen = tf.reduce_max(tf.concat([[0], num_seen], axis=0))
        asked = tf.minimum(wanted + most_seen, num_items)
        distances, rows = layer(users, k=asked)
        # What a row gets must not depend on how much its neighbours in the batch have seen.
        rank_of = tf.range(tf.shape(rows)[1])[None]
        proposed = tf.math.is_finite(distances) & (rank_of < (wanted + num_seen)[:, None])
        scores, rows = _score_again(items, users, seen, rows, proposed, k)
        short = tf.reduce_any(tf.math.is_inf(scores), axis=1)
        answer: tuple[tf.Tensor, tf.Tensor] = tf.cond(
            tf.reduce_any(short),
            lambda: _where_rows(short, _exact(items, users, seen, k), (scores, rows)),
            lambda: (scores, rows),
        )
        return answer

    return rank


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
    items: tf.Variable, users: tf.Tensor, seen: tf.Tensor, k: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    scores = tf.matmul(users, items, transpose_b=True)
    places = tf.where(seen != PAD_ID)
    columns = tf.cast(tf.gather_nd(seen, places), tf.int64) - 1
    scores = tf.tensor_scatter_nd_update(
        scores,
        tf.stack([places[:, 0], columns], axis=1),
        tf.fill(tf.shape(columns), _NO_SCORE),
    )
    # top_k gives the lower index first among equals.
    scores, rows = tf.math.top_k(scores, k=k)
    return scores, rows


def _score_again(
    items: tf.Variable,
    users: tf.Tensor,
    seen: tf.Tensor,
    rows: tf.Tensor,
    proposed: tf.Tensor,
    k: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Exact scores of the proposed rows (batch, candidates), and the best k of them."""
    # Sorted by row, so that equal scores come out by row; what is missing goes to the end.
    rows = tf.sort(tf.where(proposed, rows, items.shape[0]), axis=1)
    missing = rows >= items.shape[0]
    rows = tf.where(missing, 0, rows)
    scores = tf.einsum("bd,bcd->bc", users, tf.gather(items, rows))
    was_seen = tf.reduce_any((rows + 1)[:, :, None] == seen[:, None, :], axis=2)
    scores = tf.where(missing | was_seen, _NO_SCORE, scores)
    # At least k columns, whatever ScaNN found.
    gap = tf.maximum(k - tf.shape(rows)[1], 0)
    scores = tf.pad(scores, [[0, 0], [0, gap]], constant_values=_NO_SCORE)
    rows = tf.pad(rows, [[0, 0], [0, gap]])
    scores, places = tf.math.top_k(scores, k=k)
    return scores, tf.gather(rows, places, batch_dims=1)


def _where_rows(
    rows: tf.Tensor, chosen: tuple[tf.Tensor, tf.Tensor], other: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    scores = tf.where(rows[:, None], chosen[0], other[0])
    return scores, tf.where(rows[:, None], chosen[1], other[1])
