"""Paired t-tests over users: is one system better than another on the same users?

With several seeds, a user's value is the mean over the seeds, so that the test
sees each user once and not once a seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypedDict

import numpy as np
import numpy.typing as npt
from scipy import stats

from idp_tf.errors import DataError
from idp_tf.metrics import FloatArray, per_user

_CONSTANT: Final = 1e-12
"""Differences that vary by less than this are equal: only rounding is left of them."""


class Significance(TypedDict):
    """One comparison, as it stands in report.json under ``significance``."""

    better: str
    than: str
    domain: str
    protocol: str
    metric: str
    p: float
    mean_difference: float
    ci95: list[float]
    users: int
    seeds: dict[str, int]


def compare_systems(
    ranks: Mapping[str, npt.ArrayLike],
    pairs: Iterable[tuple[str, str]],
    *,
    domain: str,
    protocol: str,
    metrics: Sequence[str] = ("NDCG@5",),
) -> list[Significance]:
    """Compares pairs of systems by paired t-tests over users.

    Args:
        ranks: For each system its 1-based ranks, shape (users,) or (seeds, users),
            the users in the same order for every system.
        pairs: The systems to compare, by name.
        domain: The domain's name, passed on.
        protocol: The protocol's name, passed on.
        metrics: Names that ``idp_tf.metrics.per_user`` knows.

    Returns:
        For each pair and metric a comparison, the system with the higher mean in
        ``better`` (the first of the pair where the means are equal).

    Raises:
        DataError: if a system is missing, or the users do not match.

    Example:
        >>> found = compare_systems({"a": [2, 1, 1], "b": [2, 3, 9]}, [("b", "a")],
        ...                         domain="tea", protocol="full", metrics=["HR@1"])
        >>> found[0]["better"], round(found[0]["mean_difference"], 3)
        ('a', 0.667)
    """
    return [
        _compare(ranks, first, second, metric, domain=domain, protocol=protocol)
        for first, second in pairs
        for metric in metrics
    ]


def paired_test(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[float, float, list[float]]:
    """The two-sided paired t-test of two systems' values for the same users.

    Args:
        first: One value a user, shape (users,).
        second: The other system's values, the users in the same order.

    Returns:
        p, the mean of ``first - second``, and its 95 % confidence interval. Where
        the difference is the same for every user, the interval has no width, and p
        is 1 if that difference is 0, else 0.

    Raises:
        DataError: if the shapes differ, or there are fewer than two users.
    """
    left, right = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if left.shape != right.shape or left.ndim != 1 or len(left) < 2:
        raise DataError(
            f"values of shape {left.shape} and {right.shape} cannot be paired",
            where="significance",
            remedy="evaluate both systems on the same users, at least two",
        )
    difference = left - right
    mean = float(difference.mean())
    if np.ptp(difference) < _CONSTANT:
        return (1.0 if abs(mean) < _CONSTANT else 0.0), mean, [mean, mean]
    result = stats.ttest_rel(left, right)
    interval = result.confidence_interval(0.95)
    return float(result.pvalue), mean, [float(interval.low), float(interval.high)]


def _compare(
    ranks: Mapping[str, npt.ArrayLike],
    first: str,
    second: str,
    metric: str,
    *,
    domain: str,
    protocol: str,
) -> Significance:
    left, left_seeds = _user_means(ranks, first, metric)
    right, right_seeds = _user_means(ranks, second, metric)
    better, than = first, second
    if left.mean() < right.mean():
        left, right, better, than = right, left, second, first
    p, mean, ci95 = paired_test(left, right)
    return Significance(
        better=better,
        than=than,
        domain=domain,
        protocol=protocol,
        metric=metric,
        p=p,
        mean_difference=mean,
        ci95=ci95,
        users=len(left),
        seeds={first: left_seeds, second: right_seeds},
    )


def _user_means(
    ranks: Mapping[str, npt.ArrayLike], system: str, metric: str
) -> tuple[FloatArray, int]:
    if system not in ranks:
        raise DataError(
            f"no ranks of {system!r}", where="significance", remedy=f"there are: {', '.join(ranks)}"
        )
    values = np.atleast_2d(per_user(ranks[system], metric))
    return values.mean(axis=0), len(values)
