"""Items made cold: a domain as it would be if some of its items had never been seen."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from idp_tf.data.domain import Domain
from idp_tf.data.schema import PAD_ID, IdMap
from idp_tf.data.sequences import MIN_LENGTH, Sequences
from idp_tf.data.store import content_hash
from idp_tf.errors import DataError

COLD_SHARE: Final = 0.1
"""Which part of a domain's items is made cold (section 3.8)."""


def choose_cold_items(num_items: int, share: float, seed: int) -> npt.NDArray[np.int32]:
    """A seeded choice of items, each as likely as any other; at least one, sorted.

    Args:
        num_items: Items 1 … num_items.
        share: Which part of them is chosen.
        seed: Seed of the choice.

    Example:
        >>> choose_cold_items(10, 0.2, seed=0)
        array([7, 8], dtype=int32)
    """
    count = max(1, round(share * num_items))
    chosen = np.random.default_rng(seed).choice(num_items, count, replace=False) + 1
    return np.sort(chosen).astype(np.int32)


def users_tested_on(sequences: Sequences, items: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The users whose test item is one of some items, (n,), sorted.

    Example:
        >>> users_tested_on(Sequences(np.array([1, 2, 3, 1], np.int32), np.array([0, 3, 4])), [3])
        array([0])
    """
    tested = sequences.item_from_end(np.arange(sequences.num_users), 1)
    return np.flatnonzero(np.isin(tested, items))


def without_items(domain: Domain, cold: npt.ArrayLike, name: str) -> Domain:
    """The domain without some items: they are in no sequence, and have no id.

    Users of whom fewer than three interactions are left are dropped, and counted in the manifest.
    What was a user's last item stays last where it stays at all, and so is never trained on; where
    it goes, the two before it are held out in its place.

    Args:
        domain: The whole domain.
        cold: The ids of the items that go.
        name: What the result is called.

    Raises:
        DataError: if no user is left.
    """
    warm = np.setdiff1d(np.arange(1, domain.num_items + 1), cold)
    new_ids = np.full(domain.num_items + 1, PAD_ID, np.int32)
    new_ids[warm] = np.arange(1, len(warm) + 1)
    values = new_ids[domain.sequences.values]
    users = np.repeat(np.arange(domain.sequences.num_users), domain.sequences.lengths)
    lengths = np.bincount(users[values != PAD_ID], minlength=domain.sequences.num_users)
    kept = np.flatnonzero(lengths >= MIN_LENGTH)
    if not kept.size:
        raise DataError(
            f"without {domain.num_items - len(warm)} cold items no user has {MIN_LENGTH} "
            "interactions",
            where=domain.name,
            remedy="bring users with longer histories",
        )
    values = values[(values != PAD_ID) & (lengths >= MIN_LENGTH)[users]]
    sequences = Sequences(values, np.concatenate([[0], np.cumsum(lengths[kept])]))
    ids = [domain.item_ids.external_ids[i - 1] for i in warm]
    titles = [domain.titles[i - 1] for i in warm]
    user_ids = [domain.user_ids[user] for user in kept]
    manifest = {
        "domain": name,
        "of": domain.name,
        "cold_items": domain.num_items - len(warm),
        "dropped_users": domain.sequences.num_users - len(kept),
        "dropped_interactions": domain.sequences.num_interactions - len(values),
        "hash": content_hash(sequences, ids, titles, user_ids),
    }
    return Domain(name, IdMap(ids), titles, user_ids, sequences, manifest)
