"""Distances between distributions, as TensorFlow Data Validation measures them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

REST: Final = ""
"""Stands for all that is not listed; no word and no id is empty."""


def l_infinity(now: Mapping[Any, float], before: Mapping[Any, float]) -> tuple[float, Any]:
    """The largest difference of any value's share, and which value's it is.

    Args:
        now: Shares of values; one that is missing has none.
        before: The same, of what it is compared with.

    Example:
        >>> l_infinity({"a": 0.5, "b": 0.5}, {"a": 0.7, "c": 0.3})
        (0.5, 'b')
    """
    values = sorted(set(now) | set(before))
    if not values:
        return 0.0, None
    worst = max(values, key=lambda value: abs(now.get(value, 0.0) - before.get(value, 0.0)))
    return abs(now.get(worst, 0.0) - before.get(worst, 0.0)), worst


def jensen_shannon(now: Mapping[Any, float], before: Mapping[Any, float]) -> float:
    """The Jensen-Shannon divergence in bits: 0 for equal distributions, 1 for disjoint ones.

    Args:
        now: Weights of values, of any sum.
        before: The same, of what it is compared with.

    Example:
        >>> jensen_shannon({"a": 2}, {"a": 5}), jensen_shannon({"a": 1}, {"b": 1})
        (0.0, 1.0)
    """
    values = sorted(set(now) | set(before))
    p, q = (_normalised([weights.get(value, 0.0) for value in values]) for weights in (now, before))
    if p is None or q is None:
        return 0.0 if p is q else 1.0
    middle = (p + q) / 2
    # What rounding leaves on either side of the bounds is cut off.
    return min(1.0, max(0.0, (_divergence(p, middle) + _divergence(q, middle)) / 2))


def with_rest(counts: Sequence[tuple[str, float]], total: float) -> dict[str, float]:
    """Shares of the most frequent values, and of all others together.

    Args:
        counts: Values and their counts.
        total: The count of all values.
    """
    shares = {value: count / total for value, count in counts} if total else {}
    return shares | {REST: max(0.0, 1 - sum(shares.values()))}


def by_magnitude(distribution: Mapping[str, Sequence[int]]) -> dict[int, int]:
    """Lengths in steps of a fourth of a doubling, so that chance moves little.

    Args:
        distribution: ``values`` and their ``counts``.
    """
    steps: dict[int, int] = {}
    for value, count in zip(distribution["values"], distribution["counts"], strict=True):
        step = math.floor(4 * math.log2(value + 1))
        steps[step] = steps.get(step, 0) + count
    return steps


def rebinned(histograms: Sequence[Any]) -> list[dict[int, float]]:
    """Histograms of numbers over the borders of all of them, even within a bucket.

    Args:
        histograms: tensorflow_metadata's ``Histogram`` of type STANDARD.
    """
    edges = np.unique([[b.low_value, b.high_value] for h in histograms for b in h.buckets])
    found = []
    for histogram in histograms:
        borders = [histogram.buckets[0].low_value, *(b.high_value for b in histogram.buckets)]
        below = np.cumsum([0.0, *(bucket.sample_count for bucket in histogram.buckets)])
        # All mass on one point has no width to spread over.
        if borders[0] == borders[-1]:
            at = int(np.searchsorted(edges, borders[0]))
            found.append({at: float(below[-1])})
        else:
            mass = np.diff(np.interp(edges, borders, below))
            found.append(dict(enumerate(mass.tolist())))
    return found


def _normalised(weights: Sequence[float]) -> npt.NDArray[np.float64] | None:
    array = np.asarray(weights, np.float64)
    total = array.sum()
    return array / total if total > 0 else None


def _divergence(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    there = p > 0
    return float((p[there] * np.log2(p[there] / q[there])).sum())
