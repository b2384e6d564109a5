"""One row of results: what report.json keeps of a system's ranks."""

from __future__ import annotations

import math
from typing import Final, TypedDict

import numpy as np
import numpy.typing as npt
from scipy import stats

from idp_tf.metrics import METRIC_NAMES, per_user, summarize

CONFIDENCE: Final = 0.95


class ResultRow(TypedDict):
    """One system on one domain by one protocol with one seed, as in report.json."""

    system: str
    domain: str
    protocol: str
    seed: int
    users: int
    metrics: dict[str, float]
    ci95: dict[str, list[float]]
    seconds: float


def result_row(
    ranks: npt.ArrayLike, *, system: str, domain: str, protocol: str, seed: int, seconds: float
) -> ResultRow:
    """Sums up a system's ranks, each metric with its interval over users.

    Args:
        ranks: 1-based ranks, shape (users,), at least one.
        system: The system's slug.
        domain: The domain's name.
        protocol: The protocol's name.
        seed: The seed of the system's training.
        seconds: How long training or evaluating took, as the caller measures it.

    Returns:
        The row; ``ci95`` is empty where there are fewer than two users.

    Raises:
        DataError: if there is no rank, or one below 1.

    Example:
        >>> row = result_row([1, 3], system="idp", domain="tea", protocol="full", seed=0,
        ...                  seconds=1.0)
        >>> row["users"], row["metrics"]["NDCG@5"]
        (2, 0.75)
    """
    users = np.asarray(ranks).size
    return ResultRow(
        system=system,
        domain=domain,
        protocol=protocol,
        seed=seed,
        users=users,
        metrics=summarize(ranks),
        ci95={name: _interval(per_user(ranks, name)) for name in METRIC_NAMES if users > 1},
        seconds=seconds,
    )


def _interval(values: npt.NDArray[np.float64]) -> list[float]:
    """The t interval of the mean over users."""
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, values.size - 1))
    half = quantile * float(values.std(ddof=1)) / math.sqrt(values.size)
    return [float(values.mean()) - half, float(values.mean()) + half]
