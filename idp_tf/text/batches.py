"""What the matcher is tuned on: every batch is a function of the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from idp_tf.data.stream import stream_batches
from idp_tf.errors import SettingsError
from idp_tf.text.neighbours import NO_NEIGHBOUR
from idp_tf.text.objectives import allowed_negatives
from idp_tf.text.tokens import TitleTokens

NUM_GROUPS: Final = 4
"""A batch's titles are sorted by length into so many groups, each padded to its own
longest title. Which items meet in a batch stays random; only padding is saved."""

_ANCHORS, _NEIGHBOURS, _SAMPLE, _HELD_OUT = range(4)
"""Streams of random numbers under one seed."""


def hold_out(num_items: int, share: float, seed: int) -> npt.NDArray[np.int64]:
    """Rows of the items that tuning never sees: no anchors, no neighbours, no negatives.

    Args:
        num_items: The number of source items.
        share: The share to hold out, rounded to whole items.
        seed: Seed of the choice.

    Returns:
        Sorted rows (from 0).

    Example:
        >>> hold_out(10, 0.2, seed=0).shape
        (2,)
    """
    rng = np.random.default_rng([seed, _HELD_OUT])
    return np.sort(rng.choice(num_items, round(num_items * share), replace=False))


@dataclass(frozen=True)
class TuningItems:
    """Which items are tuned on, and with which neighbours.

    Args:
        anchors: Rows of the items that are anchors.
        neighbours: Neighbour sets without the items that may not be seen, -1 in their
            place, shape (items, k).
        title_ids: Equal for items of equal title (case ignored), shape (items,).
        groups: Equal for items that may meet in a batch, shape (items,).
    """

    anchors: npt.NDArray[np.int64]
    neighbours: npt.NDArray[np.int32]
    title_ids: npt.NDArray[np.int32]
    groups: npt.NDArray[np.int64]


def choose_items(
    titles: Sequence[str],
    neighbours: npt.NDArray[np.int32],
    held_out: npt.NDArray[np.int64],
    max_items: int | None,
    seed: int,
    item_offsets: npt.ArrayLike | None = None,
) -> TuningItems:
    """Leaves out held-out items, their namesakes, untitled items, anchors without neighbours.

    Args:
        titles: Titles of all items.
        neighbours: From ``behaviour_neighbours``.
        held_out: From ``hold_out``.
        max_items: If given, a seeded sample of so many anchors is kept.
        seed: Seed of the sample.
        item_offsets: Domains' bounds, if only items of one domain are to meet in a batch.

    Raises:
        SettingsError: if the neighbours are not those of these items, or no anchor is left.
    """
    if len(neighbours) != len(titles):
        raise SettingsError(
            f"neighbours of {len(neighbours)} items for {len(titles)} titles", where="neighbours"
        )
    folded = np.array([title.casefold().strip() for title in titles], dtype=object)
    title_ids = np.unique(folded, return_inverse=True)[1].astype(np.int32)
    seen = (folded != "") & ~np.isin(title_ids, title_ids[held_out])
    known = (neighbours != NO_NEIGHBOUR) & seen[neighbours]
    kept = np.where(known, neighbours, NO_NEIGHBOUR).astype(np.int32)
    anchors = np.flatnonzero(seen & known.any(axis=1))
    if not len(anchors):
        raise SettingsError(
            "no item has both a title and a neighbour to tune on",
            where="matcher",
            remedy="hold out less, or set matcher.steps=0 to leave the encoder untuned",
        )
    if max_items is not None and max_items < len(anchors):
        rng = np.random.default_rng([seed, _SAMPLE])
        anchors = np.sort(rng.choice(anchors, max_items, replace=False))
    rows = np.arange(len(titles))
    groups = (
        np.zeros_like(rows)
        if item_offsets is None
        else np.searchsorted(np.asarray(item_offsets), rows, side="right") - 1
    )
    return TuningItems(anchors, kept, title_ids, groups)


class TuningBatches:
    """The batches of a tuning run.

    Anchors come in a new random order each time all have been used; a batch draws one
    neighbour of each anchor uniformly. The anchors of a batch are of one group, but for
    the batches of what is left over of all groups: between domains it is enough to tell
    domains apart, and nothing would be learned about the items of one.

    Args:
        items: What to tune on.
        tokens: The tokenised titles of all items.
        untuned: The untuned encoder's vectors of all items, shape (items, width).
        batch_size: Anchors in a batch; fewer if there are fewer anchors.
        seed: Seed of everything random here.
    """

    def __init__(
        self,
        items: TuningItems,
        tokens: TitleTokens,
        untuned: npt.NDArray[np.float32],
        batch_size: int,
        seed: int,
    ):
        self._items = items
        self._tokens = tokens
        self._untuned = untuned
        self._seed = seed
        self.batch_size = min(batch_size, len(items.anchors))
        self._planned: tuple[int, npt.NDArray[np.int64]] | None = None

    def rows(self, step: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The anchors of a step, and a neighbour of each; both of shape (batch_size,)."""
        this_round, place = divmod(step, len(self._items.anchors) // self.batch_size)
        anchors = self._plan(this_round)[place]
        # A uniform draw among the neighbours that are there: the highest of random numbers.
        neighbours = self._items.neighbours[anchors]
        draw = np.random.default_rng([self._seed, _NEIGHBOURS, step]).random(neighbours.shape)
        column = np.where(neighbours == NO_NEIGHBOUR, -1.0, draw).argmax(axis=1)
        return anchors, neighbours[np.arange(len(anchors)), column].astype(np.int64)

    def _plan(self, this_round: int) -> npt.NDArray[np.int64]:
        """The anchors of each batch of a round, (batches, batch_size), in random order."""
        if self._planned is not None and self._planned[0] == this_round:
            return self._planned[1]
        rng = np.random.default_rng([self._seed, _ANCHORS, this_round])
        order = rng.permutation(self._items.anchors)
        groups = self._items.groups[order]
        whole, rest = [], []
        for group in np.unique(groups):
            members = order[groups == group]
            end = len(members) // self.batch_size * self.batch_size
            whole.append(members[:end])
            rest.append(members[end:])
        left_over = rng.permutation(np.concatenate(rest))
        end = len(left_over) // self.batch_size * self.batch_size
        batches = np.concatenate([*whole, left_over[:end]]).reshape(-1, self.batch_size)
        plan = rng.permutation(batches)
        self._planned = this_round, plan
        return plan

    def batch(self, step: int) -> dict[str, Any]:
        """What ``MatcherModel`` takes.

        Returns:
            ``token_ids`` and ``padding_mask``: for each group (titles, length). ``places``:
            where in the groups each title went, shape (3 batch_size,): anchors, the same
            anchors again, neighbours. ``allowed``: (batch_size, 2 batch_size). ``untuned``:
            vectors of anchors and neighbours, (2 batch_size, width).
        """
        anchors, neighbours = self.rows(step)
        candidates = np.concatenate([anchors, neighbours])
        titles = np.concatenate([anchors, anchors, neighbours])
        order = np.argsort(self._tokens.lengths[titles], kind="stable")
        groups = np.array_split(titles[order], NUM_GROUPS)
        return {
            "token_ids": tuple(self._tokens.padded(group) for group in groups),
            "padding_mask": tuple(self._tokens.mask(group) for group in groups),
            "places": np.argsort(order, kind="stable").astype(np.int32),
            "allowed": allowed_negatives(
                anchors.astype(np.int32),
                candidates.astype(np.int32),
                self._items.neighbours,
                self._items.title_ids,
            ),
            "untuned": self._untuned[candidates],
        }

    def dataset(self, first: int, steps: int) -> Any:
        """A ``tf.data.Dataset`` of the batches of the steps ``first`` … ``steps - 1``."""

        def batches() -> Iterator[dict[str, Any]]:
            for step in range(first, steps):
                yield self.batch(step)

        ids = tuple(tf.TensorSpec((None, None), tf.int32) for _ in range(NUM_GROUPS))
        size = self.batch_size
        signature = {
            "token_ids": ids,
            "padding_mask": ids,
            "places": tf.TensorSpec((3 * size,), tf.int32),
            "allowed": tf.TensorSpec((size, 2 * size), tf.bool),
            "untuned": tf.TensorSpec((2 * size, self._untuned.shape[1]), tf.float32),
        }
        return stream_batches(batches, signature, ahead=2)
