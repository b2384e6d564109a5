"""Source items that behaviour tells enough about to have behaviour neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from idp_tf.config import MatcherSettings
from idp_tf.data.domain import MergedDomains
from idp_tf.errors import SettingsError
from idp_tf.text import NO_NEIGHBOUR

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class KnownItems:
    """Source items with enough training interactions for their ID embeddings to mean much.

    Args:
        rows: Their rows among all source items (from 0), sorted.
        offsets: Where each domain's begin among ``rows``, and where the last one's end; one
            range for all of them where neighbours are looked for across domains.
    """

    rows: Int64Array
    offsets: Int64Array

    def spread(self, neighbours: Int32Array, num_items: int) -> Int32Array:
        """Neighbours by rows of all items; -1 for items that are not known."""
        everywhere = np.full((num_items, neighbours.shape[1]), NO_NEIGHBOUR, np.int32)
        found = np.where(neighbours == NO_NEIGHBOUR, NO_NEIGHBOUR, self.rows[neighbours])
        everywhere[self.rows] = found
        return everywhere


def find_known_items(sources: MergedDomains, settings: MatcherSettings) -> KnownItems:
    """The source items that have ``matcher.min_interactions`` training interactions.

    Raises:
        SettingsError: if there are no two among which neighbours could be looked for.
    """
    counts = sources.sequences.item_counts(sources.num_items)[1:]
    within_domains = settings.neighbour_scope == "domain"
    bounds = sources.item_offsets if within_domains else np.array([0, sources.num_items])
    rows = np.flatnonzero(counts >= settings.min_interactions)
    known = KnownItems(rows, np.searchsorted(rows, bounds))
    if np.diff(known.offsets).max() < 2:
        raise SettingsError(
            f"no two source items{' of one domain' if within_domains else ''} have "
            f"{settings.min_interactions} training interactions, so none has a neighbour",
            where="matcher.min_interactions",
            remedy=f"set it to at most {_highest_limit(counts, bounds)}",
        )
    return known


def _highest_limit(counts: Int64Array, bounds: Int64Array) -> int:
    """The highest limit that two items of one range reach."""
    ranges = [counts[first:end] for first, end in pairwise(bounds) if end - first > 1]
    return max((int(np.partition(found, -2)[-2]) for found in ranges), default=0)
