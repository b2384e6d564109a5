"""The matcher's contrastive objectives (eq. 5 to 7).

The paper prints eq. 5 to 7 without the -log, and eq. 6 with t'_i in the denominator where
the positive is t_j. Taken as printed, eq. 5 and 6 would be maximised, and eq. 6's fraction
could pass 1. Here both are the usual InfoNCE: the -log of the positive's share, the
positive itself in the denominator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

_EXCLUDED = -1e9


def contrastive_loss(
    anchors: Any, positives: Any, candidates: Any, allowed: Any, temperature: float
) -> Any:
    """-log of a positive's share among itself and the allowed negatives, for each anchor.

    With ``positives`` the second dropout views t'_i it is eq. 5; with the vectors t_j of
    behaviour neighbours it is one term of eq. 6. One neighbour drawn uniformly for each
    anchor and step estimates, without bias, the mean over all k of them.

    Args:
        anchors: t_i, L2-normalised, shape (batch, width).
        positives: t'_i or t_j, L2-normalised, shape (batch, width).
        candidates: The vectors t_k of items that may serve as negatives, shape (n, width).
        allowed: Which of them are negatives of which anchor, shape (batch, n), bool.
        temperature: tau.

    Returns:
        Shape (batch,).
    """
    positive = ops.sum(anchors * positives, axis=-1, keepdims=True) / temperature
    negative = ops.matmul(anchors, ops.transpose(candidates)) / temperature
    negative = ops.where(allowed, negative, _EXCLUDED)
    logits = ops.concatenate([positive, negative], axis=-1)
    return ops.logsumexp(logits, axis=-1) - positive[:, 0]


def matcher_losses(
    anchors: Any, views: Any, neighbours: Any, allowed: Any, temperature: float
) -> tuple[Any, Any]:
    """Eq. 5 and eq. 6, each as the mean over the batch, to be added up as in eq. 7.

    Where the paper's eq. 6 sums over an item's k neighbours, this is an estimate of their mean:
    beside eq. 5 it weighs a k-th of what the paper prints.

    The negatives of an anchor are the vectors of the other items in the batch, anchors
    and neighbours alike, less those that ``allowed`` takes out.

    Args:
        anchors: t_i, shape (batch, width).
        views: t'_i, the same titles under another dropout, shape (batch, width).
        neighbours: t_j, one behaviour neighbour of each anchor, shape (batch, width).
        allowed: From ``allowed_negatives``, shape (batch, 2 batch): first the anchors,
            then the neighbours.
        temperature: tau.

    Returns:
        The text loss (eq. 5) and the behaviour loss (eq. 6), scalars.
    """
    candidates = ops.concatenate([anchors, neighbours], axis=0)
    text = contrastive_loss(anchors, views, candidates, allowed, temperature)
    behaviour = contrastive_loss(anchors, neighbours, candidates, allowed, temperature)
    return ops.mean(text), ops.mean(behaviour)


def distillation_loss(vectors: Any, untuned: Any) -> Any:
    """How far vectors have gone from those of the untuned encoder, as 1 - cosine.

    Not in the paper. Behaviour neighbours are noisy, and the contrastive objectives alone
    let an encoder forget what words mean; near its untuned self it keeps that.

    Args:
        vectors: L2-normalised, shape (n, width).
        untuned: The same titles' vectors before tuning, L2-normalised, shape (n, width).

    Returns:
        The mean, a scalar.

    Reference: feature distillation, Heo et al. 2019, https://arxiv.org/abs/1904.01866.
    """
    return 1.0 - ops.mean(ops.sum(vectors * untuned, axis=-1))


def allowed_negatives(
    anchors: npt.NDArray[np.int32],
    candidates: npt.NDArray[np.int32],
    neighbours: npt.NDArray[np.int32],
    title_ids: npt.NDArray[np.int32],
) -> npt.NDArray[np.bool_]:
    """Which candidates are negatives of which anchors.

    Not so are the item itself, an item with the same title, and an item that is in the
    anchor's neighbour set or has the anchor in its own.

    Args:
        anchors: Rows of items, shape (batch,).
        candidates: Rows of items, shape (n,).
        neighbours: The neighbour set of every item, -1 for none, shape (items, k).
        title_ids: Equal for items of equal title, shape (items,).

    Returns:
        Shape (batch, n).
    """
    same_title = title_ids[anchors][:, None] == title_ids[candidates][None, :]
    forward = (neighbours[anchors][:, None, :] == candidates[None, :, None]).any(axis=-1)
    backward = (neighbours[candidates][None, :, :] == anchors[:, None, None]).any(axis=-1)
    allowed: npt.NDArray[np.bool_] = ~(same_title | forward | backward)
    return allowed
