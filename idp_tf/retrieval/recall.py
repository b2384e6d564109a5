"""How much of the exact answer an index finds."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from idp_tf.retrieval.index import Index, build_index

_LOG = logging.getLogger(__name__)


def estimate_recall(
    index: Index, queries: npt.ArrayLike, k: int, *, sample: int = 256, seed: int = 0
) -> float:
    """Recall@k against the exact answer, on a seeded sample of the queries, and logs it.

    A row that scores as well as the k-th exact match counts as found, so that
    equal vectors (items that share a title) are not held against the index.

    Args:
        index: The index in question.
        queries: Shape (queries, dim).
        k: How many matches are compared.
        sample: Most queries that are asked.
        seed: Seed of the sample.

    Returns:
        The mean share of the k exact matches that the index finds, in 0 … 1.
    """
    asked = np.asarray(queries, np.float32)
    if len(asked) > sample:
        rng = np.random.default_rng(seed)
        asked = asked[np.sort(rng.choice(len(asked), sample, replace=False))]
    if index.method == "exact" or len(asked) == 0:
        return 1.0
    exact = build_index(index.vectors, "exact", k).query(asked, k).scores
    found = index.query(asked, k).rows
    # Scored again here, since ScaNN and a matrix product differ in the last bits.
    scores = np.einsum("qd,qkd->qk", asked, index.vectors[found])
    recall = float(np.mean(scores >= exact[:, -1:] - 1e-5))
    _LOG.info(
        "ScaNN over %d vectors (%s): recall@%d %.4f on %d queries",
        index.num_vectors,
        index.scann,
        k,
        recall,
        len(asked),
    )
    return recall
