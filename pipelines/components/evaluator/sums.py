"""Sums of users' metrics that merge in any order to the same bits.

A value is added as a whole number of 2^-52. Whole numbers add exactly, so however users fall
into batches, bundles and workers, means, intervals and tests come out the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from idp_tf.errors import DataError
from idp_tf.metrics import METRIC_NAMES, per_user

_BITS: Final = 52
_HALF: Final = 26
CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over users.

    Args:
        users: How many.
        mean: The mean.
        deviation: The standard deviation over users; NaN for fewer than two.
        constant: Whether all users have one value.
    """

    users: int
    mean: float
    deviation: float
    constant: bool

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The two-sided t interval of the mean; NaN for fewer than two users.

        Args:
            confidence: Such as 0.95.
        """
        if self.users < 2:
            return math.nan, math.nan
        half = float(stats.t.ppf((1 + confidence) / 2, self.users - 1)) * self._error
        return self.mean - half, self.mean + half

    def bound(self, confidence: float) -> tuple[float, float]:
        """The two one-sided bounds of the mean, each of that confidence."""
        return self.interval(2 * confidence - 1)

    @property
    def p(self) -> float:
        """Of the two-sided t-test against 0; 1 where all are 0, 0 where all are one other value."""
        if self.users < 2:
            return math.nan
        if self.constant:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.mean) / self._error, self.users - 1))

    @property
    def _error(self) -> float:
        return 0.0 if self.constant else self.deviation / math.sqrt(self.users)


@dataclass(frozen=True)
class MetricSums:
    """What is kept of some users' ranks by some systems.

    Rows are the systems, then the differences of the first one to each other one; columns are
    ``METRIC_NAMES``.

    Args:
        users: How many.
        total: Sums, shape (2 systems - 1, metrics), Python's whole numbers of 2^-52.
        squares: Sums of squares, likewise.
        low: The least value, likewise.
        high: The greatest value, likewise.
    """

    users: int
    total: npt.NDArray[np.object_]
    squares: npt.NDArray[np.object_]
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]

    @classmethod
    def of(cls, ranks: npt.ArrayLike) -> MetricSums:
        """Sums up users.

        Args:
            ranks: 1-based, shape (users, systems), at least one user.
        """
        by_system = np.asarray(ranks).T
        own = np.array([[per_user(ranks, name) for name in METRIC_NAMES] for ranks in by_system])
        values = np.concatenate([own, own[:1] - own[1:]])
        scaled = _scaled(values)
        return cls(
            by_system.shape[1],
            _added(scaled),
            _added(_scaled(values**2)),
            scaled.min(axis=2),
            scaled.max(axis=2),
        )

    def __add__(self, other: MetricSums) -> MetricSums:
        return MetricSums(
            self.users + other.users,
            self.total + other.total,
            self.squares + other.squares,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    def estimate(self, row: int, metric: str) -> Estimate:
        """What is known of one row.

        Args:
            row: A system's place, or number of systems - 1 + the place of the other system for
                the first one's difference to it.
            metric: One of ``METRIC_NAMES``.
        """
        n, column = self.users, METRIC_NAMES.index(metric)
        total, squares = self.total[row, column], self.squares[row, column]
        spread = max(n * (squares << _BITS) - total * total, 0)
        variance = spread / (n * (n - 1) << 2 * _BITS) if n > 1 else math.nan
        return Estimate(
            n,
            total / (n << _BITS),
            math.sqrt(variance),
            bool(self.low[row, column] == self.high[row, column]),
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON, exactly."""
        arrays = (self.total, self.squares, self.low, self.high)
        return {"users": self.users, "sums": [array.tolist() for array in arrays]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> MetricSums:
        """Reads what ``to_json`` gave."""
        total, squares, low, high = content["sums"]
        return cls(
            content["users"],
            np.array(total, object),
            np.array(squares, object),
            np.array(low, np.int64),
            np.array(high, np.int64),
        )


def merged(parts: Iterable[MetricSums | None]) -> MetricSums | None:
    """All sums as one; None if there are none."""
    found = [part for part in parts if part is not None]
    if not found:
        return None
    return sum(found[1:], start=found[0])


def _scaled(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    if not np.isfinite(values).all():
        raise DataError("a metric of a user is no number", where="Evaluator")
    return np.rint(values * 2.0**_BITS).astype(np.int64)


def _added(scaled: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
    """Sums over the last axis: in halves, which cannot overflow below 2^36 users."""
    high = (scaled >> _HALF).sum(axis=-1).astype(object)
    low = (scaled & ((1 << _HALF) - 1)).sum(axis=-1).astype(object)
    added: npt.NDArray[np.object_] = high * (1 << _HALF) + low
    return added
