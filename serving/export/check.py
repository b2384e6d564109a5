"""Answers of the C runtime against what the library has worked out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

TOLERANCE: Final = 1e-4
"""Most that a score may be off, of the greatest score of its row or of 1."""

LEAST_RECALL: Final = 0.8
"""Least share of the library's ids that a ScaNN form must give."""


@dataclass(frozen=True)
class Checked:
    """How the answers of one signature compare.

    Args:
        model: The model's name.
        version: Its version.
        signature: The signature's key.
        rows: How many rows were asked for.
        shared: The share of the library's ids, or values, that are there.
        difference: Most that a score is off, of the greatest of its row or of 1.
        good: Whether that will do.
    """

    model: str
    version: str
    signature: str
    rows: int
    shared: float
    difference: float
    good: bool


def compare_ranking(
    ids: Sequence[bytes], scores: npt.NDArray[np.float32], library: Mapping[str, float], k: int
) -> tuple[float, float]:
    """One row of an answer: the share of the best k that it has, and how far scores are off.

    An id that the library does not allow counts as a score that is off without limit, and so
    does a tail that is not -inf.

    Args:
        ids: The row's ids, "" at its end.
        scores: Their scores.
        library: The scores of all items that may be given.
        k: How many were asked for.

    Example:
        >>> compare_ranking([b"a", b"b"], np.float32([2, 1]), {"a": 2.0, "b": 1.0, "c": 0.5}, 2)
        (1.0, 0.0)
    """
    named = [name.decode() for name in ids if name]
    expected = sorted(library.values(), reverse=True)[:k]
    whole = len(set(named)) == len(named) <= k and bool(np.isneginf(scores[len(named) :]).all())
    if not whole or any(name not in library for name in named):
        return 0.0, float("inf")
    own = [library[name] for name in named]
    far = difference(scores[: len(named)], own)
    # Items that tie at the k-th place are as good as one another.
    least = expected[-1] - TOLERANCE * max(1.0, *map(abs, expected)) if expected else 0.0
    shared = sum(score >= least for score in own) / max(len(expected), 1) if expected else 1.0
    return shared, far


def difference(given: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Most that a number is off, of the greatest expected one or of 1; equal infinities are 0.

    Example:
        >>> difference([1.0, -np.inf, 3.0], [1.0, -np.inf, 4.0])
        0.25
    """
    a, b = np.asarray(given, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape or (np.isinf(a) != np.isinf(b)).any() or np.isnan(a).any():
        return float("inf")
    finite = np.isfinite(b)
    if not finite.any():
        return 0.0
    return float(np.abs(a[finite] - b[finite]).max() / max(1.0, np.abs(b[finite]).max()))


def judged(
    model: str, version: str, signature: str, rows: Sequence[tuple[float, float]]
) -> Checked:
    """Rows' shares and differences, as one line; ScaNN forms may miss some items."""
    shared = float(np.mean([row[0] for row in rows]))
    far = max(row[1] for row in rows)
    least = LEAST_RECALL if model.endswith("_scann") else 1.0
    return Checked(
        model, version, signature, len(rows), shared, far, far <= TOLERANCE and shared >= least
    )


def format_checks(checks: Sequence[Checked]) -> str:
    """A table of them."""
    head = ("model", "version", "signature", "rows", "of the library's", "scores off by", "")
    rows: list[Any] = [head]
    rows += [
        (
            *(check.model, check.version, check.signature, str(check.rows)),
            *(f"{check.shared:.3f}", f"{check.difference:.1e}", "ok" if check.good else "DIFFERS"),
        )
        for check in checks
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [[word.ljust(width) for word, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join("  ".join(line).rstrip() for line in lines)
