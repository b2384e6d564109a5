"""Behaviour neighbours (eq. 6), and how well titles find them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from idp_tf.errors import SettingsError
from idp_tf.retrieval import build_index

_LOG = logging.getLogger(__name__)

Scope = Literal["domain", "all"]
Int32Array = npt.NDArray[np.int32]

NO_NEIGHBOUR: Final = -1
"""Fills the rows of items whose domain has too few items for k neighbours."""


def behaviour_neighbours(
    embeddings: npt.ArrayLike, item_offsets: npt.ArrayLike, k: int, scope: Scope = "domain"
) -> Int32Array:
    """The k items whose pre-trained ID embeddings are most alike, by cosine similarity.

    Args:
        embeddings: ID embeddings, shape (n, d), without the padding row.
        item_offsets: Where each domain's rows begin and the last one ends, as
            ``MergedDomains.item_offsets``.
        k: How many neighbours.
        scope: ``domain`` looks in the item's own domain, since negatives from the own
            domain leave similarities across domains uncalibrated; ``all`` looks everywhere.

    Returns:
        Rows (from 0), best first, the item itself left out, shape (n, k). A domain of k or
        fewer items gives fewer neighbours, filled up with -1, and a warning says so.

    Raises:
        SettingsError: if k or the scope is impossible, or offsets and embeddings differ.

    Example:
        >>> behaviour_neighbours([[1, 0], [0.9, 0.1], [0, 1], [0, 2]], [0, 4], k=1).tolist()
        [[1], [0], [3], [2]]
    """
    if k < 1:
        raise SettingsError(
            f"neighbours is {k}", where="matcher.neighbours", remedy="give at least 1"
        )
    if scope not in ("domain", "all"):
        raise SettingsError(
            f"unknown scope {scope!r}",
            where="matcher.neighbour_scope",
            remedy="choose domain or all",
        )
    vectors = _normalised(embeddings)
    offsets = np.asarray(item_offsets) if scope == "domain" else np.array([0, len(vectors)])
    return _nearest(vectors, np.arange(len(vectors)), offsets, k)


def neighbour_recall(
    vectors: npt.ArrayLike,
    neighbours: Int32Array,
    items: npt.ArrayLike,
    item_offsets: npt.ArrayLike,
    k: int = 10,
) -> float:
    """The mean share of an item's behaviour neighbours that its title finds.

    Args:
        vectors: Title vectors of all items, shape (n, width).
        neighbours: From ``behaviour_neighbours``; the first k of each row are looked for.
        items: Rows of the items to judge by, such as the held-out ones.
        item_offsets: Domains' bounds; titles are looked for in the item's own domain. With
            neighbours across all domains, pass ``[0, n]``.
        k: How many nearest titles are looked at.

    Returns:
        In 0 … 1; items without neighbours are not counted.

    Raises:
        SettingsError: if no item has a neighbour.
    """
    rows = np.asarray(items, np.int64)
    wanted = neighbours[rows, :k]
    known = wanted != NO_NEIGHBOUR
    judged = known.any(axis=1)
    if not judged.any():
        raise SettingsError(f"none of {len(rows)} items has a neighbour", where="items")
    found = _nearest(_normalised(vectors), rows, np.asarray(item_offsets), k)
    hits = (wanted[:, :, None] == found[:, None, :]).any(axis=2) & known
    return float(np.mean(hits.sum(axis=1)[judged] / known.sum(axis=1)[judged]))


@dataclass(frozen=True)
class MatchExample:
    """What one title finds before and after tuning.

    Args:
        title: The item's title.
        behaviour: Titles of its behaviour neighbours, best first.
        before: Nearest titles by the untuned encoder, best first.
        after: Nearest titles by the tuned encoder, best first.
    """

    title: str
    behaviour: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


def example_matches(
    titles: Sequence[str],
    neighbours: Int32Array,
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    items: npt.ArrayLike,
    item_offsets: npt.ArrayLike,
    *,
    k: int = 3,
    num_examples: int = 12,
    seed: int = 0,
) -> list[MatchExample]:
    """A seeded sample of items with their nearest titles before and after tuning.

    Args:
        titles: Titles of all items.
        neighbours: From ``behaviour_neighbours``.
        before: Title vectors of the untuned encoder, shape (n, width).
        after: Title vectors of the tuned encoder, shape (n, width).
        items: Rows to choose from, such as the held-out ones.
        item_offsets: Domains' bounds; titles are looked for in the item's own domain.
        k: Nearest titles in each example.
        num_examples: Most examples.
        seed: Seed of the choice.
    """
    rows = np.asarray(items, np.int64)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(rows, min(num_examples, len(rows)), replace=False))
    offsets = np.asarray(item_offsets)
    found = [_nearest(_normalised(vectors), rows, offsets, k) for vectors in (before, after)]

    def names(found_rows: Int32Array) -> tuple[str, ...]:
        return tuple(titles[row] for row in found_rows.tolist() if row != NO_NEIGHBOUR)

    return [
        MatchExample(
            titles[row], names(neighbours[row, :k]), names(found[0][i]), names(found[1][i])
        )
        for i, row in enumerate(rows.tolist())
    ]


def _nearest(
    vectors: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], offsets: npt.ArrayLike, k: int
) -> Int32Array:
    """The k nearest of each row within its domain, without itself, -1 where there are fewer."""
    nearest = np.full((len(rows), k), NO_NEIGHBOUR, np.int32)
    for first, end in _bounds(np.asarray(offsets), len(vectors)):
        places = np.flatnonzero((rows >= first) & (rows < end))
        asked = min(k + 1, end - first)
        if 0 < asked <= k:
            _LOG.warning("a domain of %d items gives %d neighbours, not %d", asked, asked - 1, k)
        if len(places) and asked > 1:
            index = build_index(vectors[first:end], "exact", asked)
            found = index.query(vectors[rows[places]], asked).rows + first
            nearest[places, : asked - 1] = _without_self(found, rows[places])
    return nearest


def _without_self(found: Int32Array, rows: npt.NDArray[np.int64]) -> Int32Array:
    """Drops the item itself; where more equal items hide it, the last one found."""
    keep = found != rows[:, None]
    keep[keep.all(axis=1), -1] = False
    return found[keep].reshape(len(found), -1)


def _bounds(offsets: npt.NDArray[np.int64], num_items: int) -> Iterator[tuple[int, int]]:
    if offsets[0] != 0 or offsets[-1] != num_items:
        raise SettingsError(
            f"the domains' bounds {offsets.tolist()} do not span {num_items} items",
            where="item_offsets",
            remedy="leave out the padding row",
        )
    yield from zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)


def _normalised(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    vectors = np.asarray(values, np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)
