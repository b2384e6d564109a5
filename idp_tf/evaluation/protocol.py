"""The two protocols of section 3.2, over leave-one-out splits.

========== ============================ ===================== =====================
split      input of the model           target                left out of ``full``
========== ============================ ===================== =====================
validation all but the last two items   second from the end   training items
test       all but the last item        the last              training + validation
========== ============================ ===================== =====================

``sampled-99`` ranks the target among 99 items that the user never touched;
``full`` ranks it among the whole catalogue without what the user has seen, as
serving does. On validation the test item is not seen, and so is a candidate like
any other. A target that also stands in the user's history is ranked all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from idp_tf.data.sequences import LEAVE_OUT_TEST, LEAVE_OUT_VALIDATION, Sequences
from idp_tf.errors import DataError, SettingsError
from idp_tf.evaluation.negatives import flat_items, item_ranges, user_rows
from idp_tf.evaluation.ranking import (
    Candidates,
    Float32Array,
    Int32Array,
    Int64Array,
    Scorer,
    check_finite,
    full_ranks,
    sampled_ranks,
)

Split = Literal["validation", "test"]

FULL: Final = "full"
SAMPLED_PREFIX: Final = "sampled-"
DEFAULT_PROTOCOLS: Final = ("sampled-99", FULL)

LEAVE_OUT: Final[dict[str, int]] = {"validation": LEAVE_OUT_VALIDATION, "test": LEAVE_OUT_TEST}
"""How many last items the input of a split lacks; the target is the first of them."""


@dataclass(frozen=True)
class _Job:
    """What every block of one evaluation shares."""

    scorer: Scorer
    sequences: Sequences
    leave_out: int
    item_vectors: Float32Array
    negatives: Int32Array | None


@dataclass(frozen=True)
class _Span:
    """A range of item ids that some users' targets are ranked within."""

    first: int
    last: int
    candidates: Candidates | None


def evaluate(
    scorer: Scorer,
    sequences: Sequences,
    *,
    split: Split,
    num_items: int,
    protocols: Sequence[str] = DEFAULT_PROTOCOLS,
    negatives: Int32Array | None = None,
    users: npt.ArrayLike | None = None,
    item_low: npt.ArrayLike = 1,
    item_high: npt.ArrayLike | None = None,
    block: int = 256,
) -> dict[str, Int32Array]:
    """Ranks every user's held-out item, encoding each user once for all protocols.

    Args:
        scorer: The system.
        sequences: Whole sequences, the held-out items included.
        split: ``validation`` or ``test``.
        num_items: The number of items; must be the scorer's.
        protocols: ``full``, and ``sampled-n`` where ``negatives`` has n columns.
        negatives: From ``sample_negatives`` for the same ``users``, shape (users, n).
        users: Rows of ``sequences``; all by default.
        item_low: The lowest candidate of ``full``, one for all or one for each of
            ``users``: in merged domains the first item of the user's own domain.
        item_high: The highest candidate in the same way; ``num_items`` by default.
        block: Users in a block; a block needs about 5 * block * num_items bytes.

    Returns:
        For each protocol the 1-based ranks, shape (users,), int32, in the order of ``users``.

    Raises:
        SettingsError: for an unknown split or protocol, or one that the negatives do not fit.
        DataError: if sizes do not fit, a user has no such item, or a score is NaN.

    Example:
        >>> from idp_tf.evaluation.floors import popularity_scorer
        >>> s = Sequences(np.array([1, 2, 3, 1, 3, 2], np.int32), np.array([0, 3, 6]))
        >>> evaluate(popularity_scorer(s, 3), s, split="test", num_items=3, protocols=["full"])
        {'full': array([1, 1], dtype=int32)}
    """
    rows = user_rows(sequences, users)
    low, high = item_ranges(item_low, item_high, num_items, len(rows))
    _check(scorer, split, num_items, protocols, negatives, len(rows), block)
    vectors = np.ascontiguousarray(scorer.item_vectors, dtype=np.float32)
    check_finite(vectors, "item vectors", scorer.name)
    sampled = any(protocol != FULL for protocol in protocols)
    full = FULL in protocols
    drawn = negatives if sampled else None
    job = _Job(scorer, sequences, LEAVE_OUT[split], vectors, drawn)
    ranks = {protocol: np.zeros(len(rows), np.int32) for protocol in protocols}
    lengths = np.minimum(sequences.lengths[rows] - LEAVE_OUT[split], scorer.max_length)
    for first, last, group in _ranges(low, high):
        # Users of about one length share a block, so that little of it is padding.
        group = group[np.argsort(lengths[group], kind="stable")]
        span = _Span(first, last, Candidates.of(vectors[first : last + 1]) if full else None)
        for start in range(0, len(group), block):
            members = group[start : start + block]
            found = _rank_block(job, rows[members], members, span)
            for protocol, block_ranks in found.items():
                ranks[protocol][members] = block_ranks
    return ranks


def _ranges(low: Int64Array, high: Int64Array) -> Iterator[tuple[int, int, Int64Array]]:
    """Each range of candidates, and the positions of the users who share it."""
    ranges, group = np.unique(np.stack([low, high], axis=1), axis=0, return_inverse=True)
    for number, (first, last) in enumerate(ranges.tolist()):
        yield first, last, np.flatnonzero(group.reshape(-1) == number)


def _rank_block(
    job: _Job, users: Int64Array, members: Int64Array, span: _Span
) -> dict[str, Int32Array]:
    """The ranks of some users by every protocol, from one encoding of them."""
    name = job.scorer.name
    targets = _targets(job, users, span)
    longest = max(1, int(job.sequences.lengths[users].max()) - job.leave_out)
    history = job.sequences.left_padded(users, min(longest, job.scorer.max_length), job.leave_out)
    encoded = job.scorer.user_vectors(history)
    found: dict[str, Int32Array] = {}
    if job.negatives is not None:
        drawn = job.negatives[members]
        found[f"{SAMPLED_PREFIX}{drawn.shape[1]}"] = sampled_ranks(
            encoded, job.item_vectors, targets, drawn, system=name
        )
    if span.candidates is not None:
        owner, item = flat_items(job.sequences, users, job.leave_out)
        inside = (item >= span.first) & (item <= span.last)
        found[FULL] = full_ranks(
            encoded,
            span.candidates,
            targets.astype(np.int64) - span.first,
            owner[inside],
            item[inside] - span.first,
            system=name,
        )
    return found


def _targets(job: _Job, users: Int64Array, span: _Span) -> Int32Array:
    targets = job.sequences.item_from_end(users, job.leave_out)
    outside = np.flatnonzero((targets < span.first) | (targets > span.last))
    if outside.size:
        raise DataError(
            f"the target {targets[outside[0]]} of user {users[outside[0]]} is not among the "
            f"candidates {span.first} … {span.last}",
            where="item_ranges",
            remedy="give each user the range that holds all items of the own domain",
        )
    return targets


def _check(
    scorer: Scorer,
    split: str,
    num_items: int,
    protocols: Sequence[str],
    negatives: Int32Array | None,
    num_users: int,
    block: int,
) -> None:
    if split not in LEAVE_OUT:
        raise SettingsError(f"unknown split {split!r}", remedy=f"one of {', '.join(LEAVE_OUT)}")
    if block < 1:
        raise SettingsError(f"block is {block}, must be at least 1", where="evaluate")
    if scorer.num_items != num_items:
        raise DataError(
            f"scores {scorer.num_items} items, the domain has {num_items}", where=scorer.name
        )
    if negatives is not None and (negatives.ndim != 2 or len(negatives) != num_users):
        raise DataError(
            f"negatives of shape {negatives.shape} for {num_users} users",
            where="negatives",
            remedy="draw them by sample_negatives for the same users",
        )
    for protocol in protocols:
        drawn = 0 if negatives is None else negatives.shape[1]
        if protocol != FULL and protocol != f"{SAMPLED_PREFIX}{drawn}":
            raise SettingsError(
                f"protocol {protocol!r} with {drawn} negatives a user",
                where="protocols",
                remedy=f"use '{FULL}', or '{SAMPLED_PREFIX}n' with negatives of shape (users, n)",
            )
