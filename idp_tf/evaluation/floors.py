"""Rankers that need no training of a model: what any other system must beat.

Both are scorers like the models, so that they run through the same protocols.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from idp_tf.data.sequences import LEAVE_OUT_TRAIN, Sequences
from idp_tf.errors import DataError
from idp_tf.evaluation.ranking import Float32Array, Int32Array, Scorer
from idp_tf.systems import NEAREST_TITLE, POPULARITY

LAST_TITLES: Final = 5
"""How many of the last items the nearest-title ranker averages."""


def popularity_scorer(sequences: Sequences, num_items: int) -> Scorer:
    """Most popular first: an item's score is its count in the training items.

    Args:
        sequences: Whole sequences; the two held-out items of each are not counted.
        num_items: The number of items.

    Returns:
        A scorer of dimension 1, the same for every user.

    Example:
        >>> s = Sequences(np.array([2, 2, 1, 3], np.int32), np.array([0, 4]))
        >>> popularity_scorer(s, num_items=3).item_vectors[:, 0]
        array([0., 0., 2., 0.], dtype=float32)
    """
    counts = sequences.item_counts(num_items, LEAVE_OUT_TRAIN).astype(np.float32)
    return Scorer(POPULARITY, _same_for_all, counts[:, None], max_length=1)


def nearest_title_scorer(
    title_vectors: npt.NDArray[np.floating],
    *,
    untitled: npt.NDArray[np.bool_] | None = None,
    last: int = LAST_TITLES,
) -> Scorer:
    """Nearest title first: cosine to the mean title vector of the user's last items.

    The user's vector is the mean of the L2-normalised title vectors of the last
    items; its length is the same for all candidates, and so does not matter.

    Args:
        title_vectors: Row ``i`` belongs to item id ``i + 1``, shape (num_items, width).
        untitled: True where an item has no title, shape (num_items,); its vector is
            zero, both in the mean and as a candidate.
        last: How many of the last items are averaged.

    Raises:
        DataError: if the shapes do not fit.

    Example:
        >>> scorer = nearest_title_scorer(np.array([[3.0, 4.0], [0.0, 2.0]]))
        >>> scorer.encode_users(np.array([[0, 0, 0, 1, 2]], np.int32))
        array([[0.3, 0.9]], dtype=float32)
    """
    if title_vectors.ndim != 2:
        raise DataError(
            f"title vectors of shape {title_vectors.shape}",
            where=NEAREST_TITLE,
            remedy="give a row for each item: (num_items, width)",
        )
    kept = np.asarray(title_vectors, dtype=np.float32)
    if untitled is not None:
        if untitled.shape != kept.shape[:1]:
            raise DataError(
                f"{untitled.shape[0]} flags for {len(kept)} title vectors",
                where=NEAREST_TITLE,
                remedy="give one flag for each item",
            )
        kept = np.where(untitled[:, None], np.float32(0), kept)
    norms = np.linalg.norm(kept, axis=1, keepdims=True)
    unit = np.divide(kept, norms, out=np.zeros_like(kept), where=norms > 0)
    vectors = np.concatenate([np.zeros((1, unit.shape[1]), np.float32), unit])

    def mean_of_last(item_ids: Int32Array) -> Float32Array:
        present = np.maximum(np.count_nonzero(item_ids, axis=1), 1)[:, None]
        mean: Float32Array = vectors[item_ids].sum(axis=1) / present.astype(np.float32)
        return mean

    return Scorer(NEAREST_TITLE, mean_of_last, vectors, max_length=last)


def _same_for_all(item_ids: Int32Array) -> Float32Array:
    return np.ones((len(item_ids), 1), np.float32)
