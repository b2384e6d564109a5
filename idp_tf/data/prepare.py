"""Preparation: from what the files say to chronological sequences (section 3.1).

The steps, each counted in the manifest:

1. Labels are implicit: an interaction is a 1, whatever its rating was.
2. Rows that repeat user, item and timestamp are dropped; a user who comes back to
   an item at another time keeps both interactions.
3. k-core: users and items with fewer than ``k_core`` interactions go, until all
   that are left have enough.
4. Users with fewer than 3 interactions go (one each to train, validate and test).
   This matters for ``k_core`` below 3 only; items are then held to ``k_core`` again,
   so the outcome is the largest set in which users have ``max(3, k_core)`` and items
   ``k_core`` interactions. With ``k_core=1`` no item goes but those that only dropped
   users had touched.
5. Interactions are put in the order of their time; ``ties`` says how those of the
   same time are ordered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from idp_tf.data.domain import Domain
from idp_tf.data.filters import (
    FilterRecord,
    Interactions,
    first_of_repeated,
    iterated_core,
)
from idp_tf.data.readers.files import SourceFile
from idp_tf.data.readers.raw import RawDomain
from idp_tf.data.schema import COLUMNS, IdMap
from idp_tf.data.sequences import MIN_LENGTH, Sequences
from idp_tf.data.splitmix import GAMMA, mixed
from idp_tf.data.store import content_hash, load_domain, write_domain
from idp_tf.data.titles import clean_titles
from idp_tf.errors import DataError, EmptyDomainError, SettingsError

__all__ = ["Ties", "load_domain", "prepare_domain", "write_domain"]

Ties = Literal["random", "id", "source"]
IdsOf = Callable[[npt.NDArray[np.int32]], Iterable[str]]
"""Ids of ascending codes."""
TIES: tuple[Ties, ...] = ("random", "id", "source")

_SHORTEST = "shortest sequence"

logger = logging.getLogger(__name__)


def prepare_domain(
    raw: RawDomain, *, k_core: int = 5, ties: Ties = "random", seed: int = 0
) -> Domain:
    """Filters, orders and codes a domain.

    Users and items get their internal ids in the order of their external ids as text, so the
    order of the rows in the files changes nothing (except with ``ties="source"``).

    Args:
        raw: What a reader gave.
        k_core: Least interactions of a user and of an item; 1 keeps all items.
        ties: Interactions of a user at the same time stand in a ``random`` order that depends
            on the seed, the user and the item alone; in the order of item ids (as text), ``id``;
            or as in the file, ``source``.
        seed: The seed of that random order.

    Returns:
        The prepared domain, its manifest filled.

    Raises:
        SettingsError: for an impossible ``k_core`` or ``ties``.
        EmptyDomainError: if nothing is left.
        DataError: if there are no timestamps and ``ties`` is not ``"source"``, or an item of an
            interaction is not among the items.
    """
    check_settings(k_core, ties)
    logger.info("preparing %s: %d interactions", raw.name, raw.interactions.height)
    users, items = _sorted_ids(raw)
    interactions = _coded(raw, users, items, ties)
    kept, records = _filtered(interactions, len(items), k_core, raw.name)
    ordered = in_order(kept, ties, seed, lambda codes: users[codes], lambda codes: items[codes])
    sequences, user_codes, item_codes = _sequences(ordered)
    titles = _titles(raw, items)[item_codes].to_list()
    ids = IdMap(items[item_codes])
    user_ids = users[user_codes].to_list()
    manifest = build_manifest(
        raw.name,
        sources=raw.sources,
        dropped=raw.dropped,
        before={**interactions.counts(), "items": len(items)},
        filters=records,
        after=ordered.counts(),
        untitled=titles.count(""),
        tied=tied_counts(ordered, sequences.offsets[1:] - 1),
        content=content_hash(sequences, ids.external_ids, titles, user_ids),
        parameters=(k_core, ties, seed),
    )
    logger.info("prepared %s: %s", raw.name, manifest["after"])
    return Domain(raw.name, ids, titles, user_ids, sequences, manifest)


def check_settings(k_core: int, ties: str) -> None:
    """Refuses an impossible ``k_core`` or ``ties``."""
    if k_core < 1:
        raise SettingsError(f"k_core is {k_core}", remedy="give at least 1, which keeps all items")
    if ties not in TIES:
        raise SettingsError(f"ties is {ties!r}", remedy=f"choose one of {', '.join(TIES)}")


def _sorted_ids(raw: RawDomain) -> tuple[pl.Series, pl.Series]:
    if not raw.interactions.height:
        raise EmptyDomainError("the domain has no interactions", where=raw.name)
    users = raw.interactions[COLUMNS.user_id].unique().sort()
    items = raw.items[COLUMNS.item_id].unique().sort()
    if len(items) != raw.items.height:
        raise DataError("an item id stands there twice", where=raw.name)
    return users, items


def _coded(raw: RawDomain, users: pl.Series, items: pl.Series, ties: Ties) -> Interactions:
    """Codes are positions in the sorted ids."""
    times = raw.interactions[COLUMNS.timestamp].cast(pl.Float64)
    if times.null_count():
        if ties != "source" or times.null_count() < len(times):
            raise some_without_time(times.null_count(), len(times), raw.name)
        times = times.fill_null(0.0)
    return Interactions(
        _codes(raw.interactions[COLUMNS.user_id], users),
        _codes(raw.interactions[COLUMNS.item_id], items, raw.name),
        times.to_numpy(),
        np.arange(len(times)),
    )


def _codes(values: pl.Series, ids: pl.Series, where: str = "") -> npt.NDArray[np.int32]:
    codes = values.cast(pl.Enum(ids), strict=False)
    if codes.null_count():
        unknown = values.filter(codes.is_null())[0]
        raise DataError(f"the item {unknown!r} is not among the items", where=where)
    return codes.to_physical().cast(pl.Int32).to_numpy()


def _filtered(
    interactions: Interactions, listed_items: int, least: int, name: str
) -> tuple[Interactions, list[FilterRecord]]:
    """Steps 2 to 4; what each dropped adds up to the difference of before and after."""
    counts = interactions.counts()
    listed = {**counts, "items": listed_items}
    records = [FilterRecord.between("items without interactions", {}, listed, counts)]
    kept = interactions.take(first_of_repeated(interactions))
    records.append(FilterRecord.between("repeated rows", {}, counts, kept.counts()))
    for title, minimum in core_filters(least):
        before = kept.counts()
        index, rounds = iterated_core(kept.users, kept.items, **minimum)
        kept = kept.take(index)
        if not len(index):
            raise nothing_left(before, title, minimum, name)
        parameters = {**minimum, "rounds": rounds}
        records.append(FilterRecord.between(title, parameters, before, kept.counts()))
    return kept, records


def core_filters(least: int) -> tuple[tuple[str, dict[str, int]], ...]:
    """The iterated filters of steps 3 and 4, each with its minima."""
    return (
        ("k-core", {"user_minimum": least, "item_minimum": least}),
        (_SHORTEST, {"user_minimum": max(least, MIN_LENGTH), "item_minimum": least}),
    )


def nothing_left(
    before: dict[str, int], title: str, minimum: dict[str, int], name: str
) -> EmptyDomainError:
    """The error about a filter that drops everything."""
    users, items = minimum["user_minimum"], minimum["item_minimum"]
    remedy = "bring more interactions"
    if title != _SHORTEST:
        remedy = f"lower k_core (prepare.source_k_core or prepare.target_k_core), or {remedy}"
    counts = ", ".join(f"{count} {what}" for what, count in before.items())
    return EmptyDomainError(
        f"nothing is left of {counts} after the filter '{title}': users need {users} "
        f"interactions and items {items}",
        where=name,
        remedy=remedy,
    )


def some_without_time(missing: int, interactions: int, name: str) -> DataError:
    """The error about interactions that have no timestamp."""
    return DataError(
        f"{missing} of {interactions} interactions have no timestamp",
        where=name,
        remedy="give all a timestamp; if none has one, set prepare.ties=source"
        " (in Python: ties='source')",
    )


def in_order(kept: Interactions, ties: Ties, seed: int, users: IdsOf, items: IdsOf) -> Interactions:
    """By user and time; then ``ties`` decides, then the item, then the row.

    Args:
        kept: Interactions.
        ties: How those of a user at the same time are ordered.
        seed: The seed of a random order.
        users: Gives the users' ids.
        items: Gives the items' ids.
    """
    keys: list[npt.NDArray[Any]] = [kept.rows, kept.items]
    if ties == "source":
        keys = [kept.rows]
    elif ties == "random":
        keys.append(_tie_keys(seed, _hashes(kept.users, users), _hashes(kept.items, items)))
    return kept.take(np.lexsort((*keys, kept.times, kept.users)))


def _tie_keys(
    seed: int, users: npt.NDArray[np.uint64], items: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """A hash of seed, user and item."""
    state = _mixed(np.full(1, seed, np.uint64))
    return _mixed(_mixed(state ^ users) ^ items)


def _hashes(codes: npt.NDArray[np.int32], ids: IdsOf) -> npt.NDArray[np.uint64]:
    """64 bits of each code's id; of the id alone, so that what is new tomorrow changes no order."""
    distinct, places = np.unique(codes, return_inverse=True)
    digests = (blake2b(text.encode(), digest_size=8).digest() for text in ids(distinct))
    return np.frombuffer(b"".join(digests), "<u8")[places]


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """What SplitMix64 gives next after each state."""
    return mixed(values + np.uint64(GAMMA))


def _sequences(
    ordered: Interactions,
) -> tuple[Sequences, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Internal ids; also the codes of the users and of the items that are left."""
    user_lengths, item_counts = np.bincount(ordered.users), np.bincount(ordered.items)
    user_codes, item_codes = np.flatnonzero(user_lengths), np.flatnonzero(item_counts)
    internal = np.cumsum(item_counts > 0)
    offsets = np.concatenate([[0], np.cumsum(user_lengths[user_codes])]).astype(np.int64)
    values = internal[ordered.items].astype(np.int32)
    return Sequences(values, offsets), user_codes, item_codes


def _titles(raw: RawDomain, items: pl.Series) -> pl.Series:
    """Clean titles in the order of the sorted item ids."""
    table = raw.items.sort(COLUMNS.item_id)
    if not table[COLUMNS.item_id].equals(items):
        raise DataError("items and ids are out of step", where=raw.name)
    return clean_titles(table[COLUMNS.title])


def tied_counts(ordered: Interactions, last: npt.NDArray[Any]) -> tuple[int, int]:
    """How many interactions share user and time with another, and how many users' last ones.

    Args:
        ordered: Interactions, each user's in the order of their time.
        last: The position of each user's last interaction.
    """
    with_previous = np.zeros(len(ordered.users) + 1, np.bool_)
    with_previous[1:-1] = (ordered.users[1:] == ordered.users[:-1]) & (
        ordered.times[1:] == ordered.times[:-1]
    )
    tied = with_previous[:-1] | with_previous[1:]
    return int(np.count_nonzero(tied)), int(np.count_nonzero(tied[last]))


def build_manifest(
    name: str,
    *,
    sources: Sequence[SourceFile],
    dropped: Mapping[str, int],
    before: Mapping[str, int],
    filters: Sequence[FilterRecord],
    after: Mapping[str, int],
    untitled: int,
    tied: tuple[int, int],
    content: str,
    parameters: tuple[int, Ties, int],
) -> dict[str, Any]:
    """What is to be known of a prepared domain.

    Args:
        name: The domain's name.
        sources: The files it was read from.
        dropped: What reading left out, by reason.
        before: Users, items and interactions as read, items without interactions among them.
        filters: What each filter dropped.
        after: Users, items and interactions that are left.
        untitled: Items without a title.
        tied: Interactions, and users' last interactions, that share their time with another.
        content: The ``content_hash``.
        parameters: ``k_core``, ``ties`` and ``seed``.
    """
    k_core, ties, seed = parameters
    return {
        "domain": name,
        "sources": [source.as_dict() for source in sources],
        "parameters": {
            "k_core": k_core,
            "min_length": MIN_LENGTH,
            "ties": ties,
            # The seed decides the order of ties alone.
            "seed": seed if ties == "random" else None,
        },
        "dropped_by_reading": dict(dropped),
        "before": dict(before),
        "filters": [record.as_dict() for record in filters],
        "after": dict(after),
        "untitled_items": untitled,
        "ties": {
            "tied_interactions": round(tied[0] / after["interactions"], 6),
            "users_with_tied_last_item": round(tied[1] / after["users"], 6),
        },
        "hash": content,
    }
