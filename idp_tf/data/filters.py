"""Filters over coded interactions: repeated rows, k-core, least length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Interactions:
    """Interactions as parallel arrays of shape (num_interactions,).

    Args:
        users: Codes of users.
        items: Codes of items.
        times: Timestamps.
        rows: Where each stood in the source.
    """

    users: Int32Array
    items: Int32Array
    times: Float64Array
    rows: Int64Array

    def take(self, index: BoolArray | Int64Array) -> Interactions:
        """Those that a mask or an index picks."""
        return Interactions(
            self.users[index], self.items[index], self.times[index], self.rows[index]
        )

    def counts(self) -> dict[str, int]:
        """Users, items and interactions."""
        return {
            "users": int(np.count_nonzero(np.bincount(self.users))),
            "items": int(np.count_nonzero(np.bincount(self.items))),
            "interactions": len(self.users),
        }


@dataclass(frozen=True)
class FilterRecord:
    """What one filter dropped, for the manifest.

    Args:
        name: The filter.
        parameters: Its parameters.
        dropped: Users, items and interactions that it dropped.
    """

    name: str
    parameters: dict[str, Any]
    dropped: dict[str, int] = field(default_factory=dict)

    @classmethod
    def between(
        cls,
        name: str,
        parameters: dict[str, Any],
        before: dict[str, int],
        after: dict[str, int],
    ) -> FilterRecord:
        """The record of a filter that left ``after`` of ``before``."""
        return cls(name, parameters, {what: before[what] - after[what] for what in before})

    def as_dict(self) -> dict[str, Any]:
        """The record as the manifest holds it."""
        return {
            "filter": self.name,
            "parameters": self.parameters,
            "dropped": self.dropped,
        }


def first_of_repeated(interactions: Interactions) -> BoolArray:
    """Marks all but later copies of the same (user, item, timestamp)."""
    order = np.lexsort(
        (interactions.rows, interactions.times, interactions.items, interactions.users)
    )
    ordered = interactions.take(order)
    same = np.zeros(len(order), np.bool_)
    same[1:] = (
        (ordered.users[1:] == ordered.users[:-1])
        & (ordered.items[1:] == ordered.items[:-1])
        & (ordered.times[1:] == ordered.times[:-1])
    )
    keep = np.ones(len(order), np.bool_)
    keep[order[same]] = False
    return keep


def iterated_core(
    users: npt.NDArray[np.integer[Any]],
    items: npt.NDArray[np.integer[Any]],
    user_minimum: int,
    item_minimum: int,
) -> tuple[Int64Array, int]:
    """The largest set in which every user and every item has enough interactions.

    Users and items below their minimum are dropped together, again and again until none is
    left; the result does not depend on the order. Repeated interactions of a user with an item
    count each.

    Args:
        users: Codes >= 0, shape (num_interactions,).
        items: Codes >= 0, shape (num_interactions,).
        user_minimum: Least interactions of a user.
        item_minimum: Least interactions of an item.

    Returns:
        The positions that stay, ascending, and the number of rounds that dropped something.

    Example:
        >>> iterated_core(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1]), 2, 2)
        (array([0, 1, 2, 3]), 1)
    """
    kept = np.arange(len(users))
    rounds = 0
    while len(kept):
        enough = (np.bincount(users)[users] >= user_minimum) & (
            np.bincount(items)[items] >= item_minimum
        )
        if enough.all():
            break
        rounds += 1
        kept, users, items = kept[enough], users[enough], items[enough]
    return kept, rounds
