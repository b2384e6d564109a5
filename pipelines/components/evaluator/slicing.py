"""Which slices a user belongs to: by domain, history, and the item that is to be found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from idp_tf.data.sequences import LEAVE_OUT_TEST, Sequences

OVERALL: Final = "overall"
DOMAIN: Final = "domain"
HISTORY_LENGTH: Final = "history_length"
ITEM_POPULARITY: Final = "item_popularity"
ITEM_TRAINING: Final = "item_training"
ITEM_NOVELTY: Final = "item_novelty"
DIMENSIONS: Final = (DOMAIN, HISTORY_LENGTH, ITEM_POPULARITY, ITEM_TRAINING, ITEM_NOVELTY)

ALL_USERS: Final = "all"
COLD, WARM = "cold", "warm"
NEW, KNOWN = "new", "known"

IntArray = npt.NDArray[np.integer]


class Slice(NamedTuple):
    """A slice by its dimension and its name in it, such as ``history_length`` and ``5-9``."""

    dimension: str
    name: str


@dataclass(frozen=True)
class Slicer:
    """Assigns users to slices.

    Args:
        domain: The domain's name.
        counts: How often each item stands in the training split, shape (num_items + 1,).
        known: Whether the baseline knows an item, shape (num_items + 1,); None without one.
        history_edges: Where buckets of the history's length begin, rising.
        popularity_edges: Where buckets of the test item's training count begin, rising.
    """

    domain: str
    counts: IntArray
    known: npt.NDArray[np.bool_] | None
    history_edges: Sequence[int]
    popularity_edges: Sequence[int]

    def slices(self, users: Sequences) -> Iterator[tuple[Slice, npt.NDArray[np.bool_]]]:
        """Every slice with a user in it, and which users those are.

        Args:
            users: Whole sequences, the test item last.
        """
        rows = np.arange(users.num_users)
        targets = users.item_from_end(rows, LEAVE_OUT_TEST)
        everyone = np.ones(users.num_users, np.bool_)
        yield Slice(OVERALL, ALL_USERS), everyone
        yield Slice(DOMAIN, self.domain), everyone
        lengths = users.lengths - LEAVE_OUT_TEST
        yield from _buckets(HISTORY_LENGTH, lengths, self.history_edges)
        counts = self.counts[targets]
        yield from _buckets(ITEM_POPULARITY, counts, self.popularity_edges)
        yield from _two(ITEM_TRAINING, counts > 0, WARM, COLD)
        if self.known is not None:
            yield from _two(ITEM_NOVELTY, self.known[targets], KNOWN, NEW)


def bucket_names(edges: Sequence[int]) -> list[str]:
    """Names of the buckets that begin at 0 and at each edge.

    Example:
        >>> bucket_names([1, 5, 20])
        ['0', '1-4', '5-19', '20+']
    """
    starts = [0, *edges]
    closed = [
        str(low) if low == high - 1 else f"{low}-{high - 1}"
        for low, high in zip(starts, edges, strict=False)
    ]
    return [*closed, f"{starts[-1]}+"]


def slice_order(found: Slice, history_edges: Sequence[int], popularity_edges: Sequence[int]) -> int:
    """Where a slice stands within its dimension: buckets by size, others as they are named."""
    names = {
        HISTORY_LENGTH: bucket_names(history_edges),
        ITEM_POPULARITY: bucket_names(popularity_edges),
        ITEM_TRAINING: [WARM, COLD],
        ITEM_NOVELTY: [KNOWN, NEW],
    }.get(found.dimension, [found.name])
    return names.index(found.name)


def _buckets(
    dimension: str, values: IntArray, edges: Sequence[int]
) -> Iterator[tuple[Slice, npt.NDArray[np.bool_]]]:
    places = np.searchsorted(np.asarray(edges), values, side="right")
    names = bucket_names(edges)
    for place in np.unique(places):
        yield Slice(dimension, names[place]), places == place


def _two(
    dimension: str, flags: npt.NDArray[np.bool_], yes: str, no: str
) -> Iterator[tuple[Slice, npt.NDArray[np.bool_]]]:
    for name, members in ((yes, flags), (no, ~flags)):
        if members.any():
            yield Slice(dimension, name), members
