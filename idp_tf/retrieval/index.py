"""One interface over TFRS' exact and ScaNN layers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_recommenders.layers import factorized_top_k

from idp_tf.errors import SettingsError
from idp_tf.retrieval.scann import ScannSettings, choose_scann_settings

_LOG = logging.getLogger(__name__)

Method = Literal["exact", "scann"]
Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]

BLOCK_SCORES: Final = 16_000_000
"""Most exact scores held at once (64 MB): queries are asked in blocks of that size."""

BLOCK_QUERIES: Final = 1_024
"""Most queries in a block."""


@dataclass(frozen=True)
class Matches:
    """The best vectors of each query, best first.

    Args:
        scores: Inner products, shape (queries, k).
        rows: Rows of the indexed vectors (from 0), shape (queries, k).
    """

    scores: Float32Array
    rows: Int32Array


class Index:
    """Top-k by inner product over a fixed set of vectors; made by ``build_index``.

    Args:
        vectors: Shape (n, dim).
        method: ``exact`` or ``scann``.
        k: How many matches ``layer`` gives when it is not told.
        scann: ScaNN's settings; ``None`` for the exact method.
    """

    def __init__(self, vectors: Float32Array, method: Method, k: int, scann: ScannSettings | None):
        self.vectors = vectors
        self.method: Method = method
        self.k = k
        self.scann = scann
        self._layer = _build_layer(vectors, k, scann)

    @property
    def layer(self) -> Any:
        """The TFRS layer (``BruteForce`` or ``ScaNN``), for export: queries -> scores, rows."""
        return self._layer

    @property
    def num_vectors(self) -> int:
        """How many vectors are indexed."""
        return len(self.vectors)

    @property
    def width(self) -> int:
        """The length of a vector."""
        return int(self.vectors.shape[1])

    def query(self, queries: npt.ArrayLike, k: int | None = None) -> Matches:
        """The ``k`` vectors with the largest inner product with each query, best first.

        Equal scores stand in the order of their rows (exact method). Queries are
        asked in blocks, so that memory stays bounded. Where ScaNN finds fewer than
        ``k`` vectors for a query, that query is answered exactly, and a warning says so.

        Args:
            queries: Shape (queries, dim).
            k: How many; the index' own ``k`` if not given.

        Raises:
            SettingsError: if ``k`` is above the number of vectors, or the width is wrong.
        """
        k = self.k if k is None else k
        _check_k(k, self.num_vectors)
        self._check_candidates(k)
        queries = _as_vectors(queries, "queries")
        if queries.shape[1] != self.width:
            raise SettingsError(
                f"queries are {queries.shape[1]} wide, the index' vectors {self.width}",
                where="queries",
                remedy="encode both with the same encoder",
            )
        # ScaNN does not hold the score of every vector; a larger block costs less a query.
        block = BLOCK_QUERIES if self.method == "scann" else _exact_block(self.num_vectors)
        parts = [
            self._query_block(queries[start : start + block], k)
            for start in range(0, len(queries), block)
        ]
        if not parts:
            return Matches(np.zeros((0, k), np.float32), np.zeros((0, k), np.int32))
        return Matches(
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.rows for part in parts]),
        )

    def _check_candidates(self, k: int) -> None:
        if self.scann is not None and k > self.scann.num_reordering_candidates:
            raise SettingsError(
                f"k is {k}, but this ScaNN index was built for k of {self.k} and scores "
                f"{self.scann.num_reordering_candidates} candidates again",
                where="k",
                remedy="build the index with the larger k",
            )

    def _query_block(self, queries: Float32Array, k: int) -> Matches:
        scores, rows = (part.numpy() for part in self._layer(tf.constant(queries), k=k))
        if self.method == "exact":
            return Matches(scores.astype(np.float32), rows.astype(np.int32))
        return self._mend_short(queries, k, scores, rows)

    def _mend_short(
        self, queries: Float32Array, k: int, scores: Float32Array, rows: Int32Array
    ) -> Matches:
        """ScaNN narrows its answer, and fills with NaN, where it met fewer than k vectors."""
        full = np.full((len(queries), k), np.nan, np.float32)
        full[:, : scores.shape[1]] = scores
        full_rows = np.zeros((len(queries), k), np.int32)
        full_rows[:, : rows.shape[1]] = rows
        short = np.flatnonzero(~np.isfinite(full).all(axis=1))
        if short.size:
            _LOG.warning(
                "ScaNN found fewer than %d vectors for %d of %d queries; they are answered exactly",
                k,
                short.size,
                len(queries),
            )
            full[short], full_rows[short] = _exact_top_k(self.vectors, queries[short], k)
        return Matches(full, full_rows)


def build_index(vectors: npt.ArrayLike, method: Method = "exact", k: int = 10) -> Index:
    """Indexes vectors for top-k by inner product (eq. 8; cosine if the caller normalised).

    Args:
        vectors: Shape (n, dim), at least one row.
        method: ``exact`` (TFRS ``BruteForce``) gives the same answer every time. ``scann``
            (TFRS ``ScaNN``, laid out by ``choose_scann_settings``) clusters from a random
            start that cannot be seeded: an index always answers alike, but two indexes over
            the same vectors miss different matches, where they miss any.
        k: How many matches will be asked for.

    Raises:
        SettingsError: for an unknown method, vectors of a wrong shape, a ``k`` above the
            number of vectors, or too few vectors for ScaNN.
    """
    if method not in get_args(Method):
        raise SettingsError(
            f"unknown retrieval method {method!r}",
            where="method",
            remedy=f"choose one of {', '.join(get_args(Method))}",
        )
    checked = _as_vectors(vectors, "vectors")
    if checked.size == 0:
        raise SettingsError(f"nothing to index, got the shape {checked.shape}", where="vectors")
    _check_k(k, len(checked))
    scann = choose_scann_settings(len(checked), k) if method == "scann" else None
    return Index(checked, method, k, scann)


def _build_layer(vectors: Float32Array, k: int, scann: ScannSettings | None) -> Any:
    if scann is None:
        layer = factorized_top_k.BruteForce(k=k)
    else:
        layer = factorized_top_k.ScaNN(
            k=k,
            num_leaves=scann.num_leaves,
            num_leaves_to_search=scann.num_leaves_to_search,
            num_reordering_candidates=scann.num_reordering_candidates,
            dimensions_per_block=scann.dimensions_per_block,
        )
    layer.index(tf.constant(vectors))
    # A ScaNN layer that was never asked cannot be saved.
    layer(tf.constant(vectors[:1]), k=k)
    return layer


def _exact_top_k(
    vectors: Float32Array, queries: Float32Array, k: int
) -> tuple[Float32Array, Int32Array]:
    block = _exact_block(len(vectors))
    parts = [
        tf.math.top_k(tf.matmul(queries[start : start + block], vectors, transpose_b=True), k=k)
        for start in range(0, len(queries), block)
    ]
    return (
        np.concatenate([part.values.numpy() for part in parts]),
        np.concatenate([part.indices.numpy() for part in parts]),
    )


def _exact_block(num_vectors: int) -> int:
    """Queries whose scores with every vector may be held at once."""
    return max(1, min(BLOCK_QUERIES, BLOCK_SCORES // num_vectors))


def _as_vectors(values: npt.ArrayLike, where: str) -> Float32Array:
    vectors = np.ascontiguousarray(values, dtype=np.float32)
    if vectors.ndim != 2:
        raise SettingsError(f"expected the shape (n, dim), got {vectors.shape}", where=where)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise SettingsError(f"row {row} holds NaN or infinity", where=where)
    return vectors


def _check_k(k: int, num_vectors: int) -> None:
    if k < 1:
        raise SettingsError(f"top_m (k) is {k}, but at least 1 match is needed", where="top_m")
    if k > num_vectors:
        raise SettingsError(
            f"top_m (k) is {k}, but there are only {num_vectors} vectors to match",
            where="top_m",
            remedy=f"set top_m to at most {num_vectors}, or add source domains",
        )
