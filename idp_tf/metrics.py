"""Ranking metrics from the rank of each user's one relevant item, in pure NumPy.

Ranks are 1-based: 1 is the best. With one relevant item a user, the ideal DCG is
1, so NDCG@k is ``1 / log2(rank + 1)`` where the rank is within k, and 0 elsewhere
(section 3.2). A metric is named by one string everywhere: ``HR@5``, ``NDCG@10``,
``MRR``.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt

from idp_tf.errors import DataError, SettingsError

FloatArray = npt.NDArray[np.float64]

CUTOFFS: Final = (1, 3, 5, 10)
"""The k of HR@k and NDCG@k in every table."""

METRIC_NAMES: Final = (
    *(f"HR@{k}" for k in CUTOFFS),
    *(f"NDCG@{k}" for k in CUTOFFS),
    "MRR",
)
"""The metrics that ``summarize`` gives, in its order."""

_WITH_CUTOFF = re.compile(r"(HR|NDCG)@([1-9]\d*)")


def user_hit_rate(ranks: npt.ArrayLike, k: int) -> FloatArray:
    """1.0 for each user whose item is among the first ``k``, else 0.0.

    Args:
        ranks: 1-based ranks, any shape.
        k: How many recommendations count.

    Returns:
        The shape of ``ranks``, float64.

    Raises:
        DataError: if a rank is below 1.
        SettingsError: if ``k`` is below 1.
    """
    checked = _checked(ranks, k)
    return (checked <= k).astype(np.float64)


def user_ndcg(ranks: npt.ArrayLike, k: int) -> FloatArray:
    """``1 / log2(rank + 1)`` for each user whose item is among the first ``k``, else 0.0.

    Args:
        ranks: 1-based ranks, any shape.
        k: How many recommendations count.

    Returns:
        The shape of ``ranks``, float64.

    Raises:
        DataError: if a rank is below 1.
        SettingsError: if ``k`` is below 1.

    Example:
        >>> user_ndcg([1, 3, 6], k=5)
        array([1. , 0.5, 0. ])
    """
    checked = _checked(ranks, k)
    return np.where(checked <= k, 1.0 / np.log2(checked + 1.0), 0.0)


def user_reciprocal_rank(ranks: npt.ArrayLike) -> FloatArray:
    """``1 / rank`` for each user, with no cut-off.

    Args:
        ranks: 1-based ranks, any shape.

    Returns:
        The shape of ``ranks``, float64.

    Raises:
        DataError: if a rank is below 1.
    """
    return 1.0 / _checked(ranks)


def hit_rate(ranks: npt.ArrayLike, k: int) -> float:
    """HR@k: the share of users whose item is among the first ``k``.

    Args:
        ranks: 1-based ranks of at least one user.
        k: How many recommendations count.

    Raises:
        DataError: if there is no rank, or one below 1.
        SettingsError: if ``k`` is below 1.

    Example:
        >>> hit_rate([1, 7, 3, 20], k=5)
        0.5
    """
    return _mean(user_hit_rate(ranks, k))


def ndcg(ranks: npt.ArrayLike, k: int) -> float:
    """NDCG@k with one relevant item a user, averaged over users.

    Args:
        ranks: 1-based ranks of at least one user.
        k: How many recommendations count.

    Raises:
        DataError: if there is no rank, or one below 1.
        SettingsError: if ``k`` is below 1.

    Example:
        >>> ndcg([1, 3, 6, 6], k=5)
        0.375
    """
    return _mean(user_ndcg(ranks, k))


def reciprocal_rank(ranks: npt.ArrayLike) -> float:
    """MRR: the mean over users of ``1 / rank``, with no cut-off.

    Args:
        ranks: 1-based ranks of at least one user.

    Raises:
        DataError: if there is no rank, or one below 1.

    Example:
        >>> reciprocal_rank([1, 2, 4, 4])
        0.5
    """
    return _mean(user_reciprocal_rank(ranks))


def per_user(ranks: npt.ArrayLike, metric: str) -> FloatArray:
    """The value of a metric for each user, by the metric's name.

    Args:
        ranks: 1-based ranks, any shape.
        metric: ``HR@k``, ``NDCG@k`` with any k >= 1, or ``MRR``.

    Returns:
        The shape of ``ranks``, float64.

    Raises:
        DataError: if a rank is below 1.
        SettingsError: if the name is unknown.

    Example:
        >>> per_user([1, 3, 6], "HR@3")
        array([1., 1., 0.])
    """
    if metric == "MRR":
        return user_reciprocal_rank(ranks)
    named = _WITH_CUTOFF.fullmatch(metric)
    if named is None:
        raise SettingsError(
            f"unknown metric {metric!r}", remedy="write HR@k or NDCG@k with k >= 1, or MRR"
        )
    k = int(named[2])
    return user_hit_rate(ranks, k) if named[1] == "HR" else user_ndcg(ranks, k)


def summarize(ranks: npt.ArrayLike) -> dict[str, float]:
    """Every metric of ``METRIC_NAMES``, averaged over users.

    Args:
        ranks: 1-based ranks of at least one user.

    Returns:
        ``{"HR@1": …, …, "HR@10": …, "NDCG@1": …, …, "NDCG@10": …, "MRR": …}``.

    Raises:
        DataError: if there is no rank, or one below 1.

    Example:
        >>> summarize([1, 4])["HR@3"]
        0.5
    """
    return {name: _mean(per_user(ranks, name)) for name in METRIC_NAMES}


def _checked(ranks: npt.ArrayLike, k: int = 1) -> FloatArray:
    values = np.asarray(ranks, dtype=np.float64)
    if k < 1:
        raise SettingsError(f"k is {k}, must be at least 1", where="metrics")
    if not np.all(values >= 1):
        wrong = values[~(values >= 1)][0]
        raise DataError(f"ranks start at 1, found {wrong:g}", where="metrics")
    return values


def _mean(values: FloatArray) -> float:
    if values.size == 0:
        raise DataError("no ranks to average", where="metrics", remedy="evaluate at least one user")
    return float(values.mean())
