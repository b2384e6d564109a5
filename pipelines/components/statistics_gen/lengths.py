"""Distributions that are known exactly: how often each whole number occurs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

SHARES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def quantiles(counts: Mapping[int, int], shares: Sequence[float]) -> list[int]:
    """The least value that at least each share of all does not exceed; exact.

    Args:
        counts: How often each value occurs; at least one does.
        shares: Each in 0 … 1; 0 gives the least value.

    Example:
        >>> quantiles({1: 3, 5: 1}, [0, 0.5, 0.75, 1])
        [1, 1, 1, 5]
    """
    values, below = _cumulative(counts)
    total = int(below[-1])
    # Rounded first: 0.7 * 10 is a little more than 7.
    ranks = [max(1, math.ceil(round(share * total, 6))) for share in shares]
    return [int(values[np.searchsorted(below, rank)]) for rank in ranks]


def describe(counts: Mapping[int, int]) -> dict[str, Any]:
    """Mean, extremes, quantiles and the whole distribution, as JSON; None's where there is none."""
    present = {value: count for value, count in sorted(counts.items()) if count}
    if not present:
        empty: dict[str, Any] = {"mean": None, "min": None, "max": None, "quantiles": {}}
        return empty | {"distribution": {"values": [], "counts": []}}
    total = sum(value * count for value, count in present.items())
    return {
        "mean": total / sum(present.values()),
        "min": min(present),
        "max": max(present),
        "quantiles": {
            str(share): value
            for share, value in zip(SHARES, quantiles(present, SHARES), strict=True)
        },
        "distribution": {"values": list(present), "counts": list(present.values())},
    }


def gini(counts: Mapping[int, int]) -> float:
    """The Gini coefficient of a distribution: 0 if all are alike, near 1 if one has all.

    Args:
        counts: How many items have each number of interactions.

    Example:
        >>> gini({2: 10}), gini({1: 1, 3: 1})
        (0.0, 0.25)
    """
    values, below = _cumulative(counts)
    if not len(values):
        return 0.0
    number = np.diff(below, prepend=0).astype(np.float64)
    mass = np.cumsum(values * number)
    # The area under the Lorenz curve, whose corners are where the number changes.
    shares = np.concatenate([[0.0], mass / mass[-1]])
    area = float(((shares[1:] + shares[:-1]) / 2 * number / below[-1]).sum())
    return max(0.0, 1 - 2 * area)


def share_of_most_popular(counts: Mapping[int, int], share: float) -> float:
    """Which part of all interactions falls to the most popular items.

    Args:
        counts: How many items have each number of interactions.
        share: Which share of the items is meant, rounded up to whole items.
    """
    wanted = math.ceil(round(share * sum(counts.values()), 6))
    total, taken = sum(value * count for value, count in counts.items()), 0
    for value, count in sorted(counts.items(), reverse=True):
        number = min(wanted, count)
        taken += value * number
        wanted -= number
    return taken / total if total else 0.0


def _cumulative(counts: Mapping[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    values = sorted(value for value, count in counts.items() if count)
    number = np.array([counts[value] for value in values], np.int64)
    return np.array(values, np.int64), np.cumsum(number)
