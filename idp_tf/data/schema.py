"""Names and id maps that every other room relies on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from idp_tf.errors import DataError

PAD_ID: Final = 0
"""The internal item id that means "no item". Real items are 1 … num_items."""


@dataclass(frozen=True)
class Columns:
    """The column names of interactions and items, the same in every table of the package."""

    user_id: str = "user_id"
    item_id: str = "item_id"
    timestamp: str = "timestamp"
    title: str = "title"


COLUMNS: Final = Columns()


class IdMap:
    """A one-to-one map between external ids (strings) and internal ids (1 … size).

    Args:
        external_ids: The external ids in the order of their internal ids; the
            first becomes 1, since 0 is ``PAD_ID``.

    Raises:
        DataError: if an id stands there twice, or is empty.

    Example:
        >>> ids = IdMap(["tea", "kettle"])
        >>> ids.to_internal(["kettle", "unknown", "tea"])
        array([2, 0, 1], dtype=int32)
        >>> ids.to_external([1, 2])
        ['tea', 'kettle']
    """

    def __init__(self, external_ids: Iterable[str]):
        self._external = [str(external) for external in external_ids]
        self._internal = {external: i for i, external in enumerate(self._external, start=1)}
        if "" in self._internal:
            raise DataError(
                f"the id number {self._internal['']} is empty", remedy="give every item an id"
            )
        if len(self._internal) != len(self._external):
            counts = Counter(self._external)
            twice = next(external for external, count in counts.items() if count > 1)
            raise DataError(f"the id {twice!r} stands there twice", remedy="make the ids unique")

    @property
    def size(self) -> int:
        """The number of ids, padding not counted."""
        return len(self._external)

    @property
    def external_ids(self) -> list[str]:
        """The external ids in the order of their internal ids."""
        return list(self._external)

    def to_internal(self, external_ids: Iterable[str]) -> npt.NDArray[np.int32]:
        """Internal ids, with ``PAD_ID`` where an external id is unknown."""
        lookup = self._internal.get
        return np.array([lookup(external, PAD_ID) for external in external_ids], dtype=np.int32)

    def to_external(self, internal_ids: Iterable[int]) -> list[str]:
        """External ids of internal ids.

        Raises:
            DataError: if an internal id is not in 1 … size.
        """
        ids = np.asarray(list(internal_ids), dtype=np.int64)
        wrong = ids[(ids < 1) | (ids > self.size)]
        if wrong.size:
            raise DataError(f"the internal id {wrong[0]} is not in 1 … {self.size}")
        return [self._external[i - 1] for i in ids]
