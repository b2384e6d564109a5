"""A prepared domain, and several of them merged for pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import DataError


@dataclass(frozen=True)
class Domain:
    """One prepared domain.

    Args:
        name: The domain's name.
        item_ids: External item ids; internal ids are 1 … num_items.
        titles: ``titles[i]`` belongs to internal id ``i + 1``; empty where there is none.
        user_ids: ``user_ids[u]`` is the external id of row ``u`` of the sequences.
        sequences: What each user did, oldest first.
        manifest: Counts, filters, drops by reason, hashes.
    """

    name: str
    item_ids: IdMap
    titles: list[str]
    user_ids: list[str]
    sequences: Sequences
    manifest: dict[str, Any]

    def __post_init__(self) -> None:
        if len(self.titles) != self.item_ids.size:
            raise DataError(
                f"{len(self.titles)} titles for {self.item_ids.size} items", where=self.name
            )

    @property
    def num_items(self) -> int:
        """The number of items, padding not counted."""
        return self.item_ids.size


@dataclass(frozen=True)
class MergedDomains:
    """Several domains with disjoint internal ids, in the order given (section 2.3).

    Internal id ``i`` of domain ``d`` becomes ``item_offsets[d] + i``.
    """

    domains: tuple[Domain, ...]

    def __post_init__(self) -> None:
        names = self.names
        if not names or len(set(names)) != len(names):
            raise DataError(f"need at least one domain, each of its own name, got {names}")

    @property
    def names(self) -> list[str]:
        """The domains' names."""
        return [domain.name for domain in self.domains]

    @property
    def num_items(self) -> int:
        """The number of items of all domains."""
        return sum(domain.num_items for domain in self.domains)

    @cached_property
    def item_offsets(self) -> npt.NDArray[np.int64]:
        """Shape (num_domains + 1,): what is added to the internal ids of each domain."""
        return np.concatenate([[0], np.cumsum([domain.num_items for domain in self.domains])])

    @cached_property
    def item_ranges(self) -> npt.NDArray[np.int64]:
        """Shape (num_users, 2): the first and the last item id of each user's own domain."""
        ranges = np.stack([self.item_offsets[:-1] + 1, self.item_offsets[1:]], axis=1)
        return np.repeat(ranges, [domain.sequences.num_users for domain in self.domains], axis=0)

    @cached_property
    def sequences(self) -> Sequences:
        """All users' sequences in merged ids."""
        return Sequences.concatenate(
            [domain.sequences for domain in self.domains], self.item_offsets[:-1].tolist()
        )

    @cached_property
    def titles(self) -> list[str]:
        """Titles of the merged ids 1 … num_items."""
        return [title for domain in self.domains for title in domain.titles]

    @cached_property
    def external_ids(self) -> list[str]:
        """``domain:item_id`` of the merged ids 1 … num_items, unique across domains."""
        return [f"{d.name}:{item}" for d in self.domains for item in d.item_ids.external_ids]

    def domain_of(self, item_ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """The index of the domain of each merged id."""
        return np.searchsorted(self.item_offsets, np.asarray(item_ids), side="left") - 1

    @classmethod
    def of(cls, domains: Sequence[Domain]) -> MergedDomains:
        """Merges domains in the order given."""
        return cls(tuple(domains))
