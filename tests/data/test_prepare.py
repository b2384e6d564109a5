"""Preparation: what is kept, in which order, and what the manifest says of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import groupby
from typing import Any, Literal, cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp_tf.data.domain import Domain
from idp_tf.data.filters import iterated_core
from idp_tf.data.prepare import Ties, prepare_domain
from idp_tf.data.readers import RawDomain
from idp_tf.errors import DataError, EmptyDomainError, SettingsError

Row = tuple[str, str, float]


def raw(rows: list[Row], titles: dict[str, str] | None = None) -> RawDomain:
    titles = titles or {item: f"title of {item}" for _, item, _ in rows}
    schema = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Float64}
    return RawDomain(
        "shop",
        pl.DataFrame(rows, schema=schema, orient="row"),
        pl.DataFrame({"item_id": list(titles), "title": list(titles.values())}),
    )


def histories(domain: Domain) -> dict[str, list[str]]:
    """External ids, oldest first."""
    parts = np.split(domain.sequences.values, domain.sequences.offsets[1:-1])
    return {
        user: domain.item_ids.to_external(part)
        for user, part in zip(domain.user_ids, parts, strict=True)
    }


def naive_core(rows: list[Row], users_at_least: int, items_at_least: int) -> list[Row]:
    while True:
        users = Counter(user for user, _, _ in rows)
        items = Counter(item for _, item, _ in rows)
        kept = [
            row
            for row in rows
            if users[row[0]] >= users_at_least and items[row[1]] >= items_at_least
        ]
        if len(kept) == len(rows):
            return rows
        rows = kept


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abcdef"), st.sampled_from("uvwxyz"), st.sampled_from([0.0, 1.0, 2.5])
    ),
    min_size=1,
    max_size=60,
)


@given(ROWS, st.integers(1, 4))
def test_core_positions_equal_a_naive_search(rows: list[Row], k: int) -> None:
    users = np.array([ord(user) - ord("a") for user, _, _ in rows])
    items = np.array([ord(item) - ord("u") for _, item, _ in rows])
    kept, _ = iterated_core(users, items, k, k + 1)
    assert [rows[i] for i in kept] == naive_core(rows, k, k + 1)


@given(ROWS, st.integers(1, 4), st.sampled_from(["random", "id", "source"]))
@settings(max_examples=60)
def test_what_is_kept_equals_a_naive_preparation(rows: list[Row], k: int, ties: Ties) -> None:
    unique = list(dict.fromkeys(rows))
    expected = naive_core(naive_core(unique, k, k), max(k, 3), k)
    if not expected:
        with pytest.raises(EmptyDomainError):
            prepare_domain(raw(rows), k_core=k, ties=ties)
        return
    domain = prepare_domain(raw(rows), k_core=k, ties=ties)
    found = histories(domain)
    assert domain.user_ids == sorted({user for user, _, _ in expected})
    assert domain.item_ids.external_ids == sorted({item for _, item, _ in expected})
    for user, history in found.items():
        own = [(time, item) for who, item, time in expected if who == user]
        chronological = sorted(own, key=lambda pair: pair[0])
        if ties == "id":
            chronological = sorted(own)
        if ties == "random":
            assert _by_time(history, chronological) == _by_time(
                [item for _, item in chronological], chronological
            )
        else:
            assert history == [item for _, item in chronological]
    _check_manifest(domain.manifest, rows, unique, expected)


def _by_time(history: list[str], timed: list[tuple[float, str]]) -> list[list[str]]:
    """Cuts a history where the time changes; the order inside does not count."""
    items = iter(history)
    return [
        sorted(next(items) for _ in group) for _, group in groupby(timed, key=lambda pair: pair[0])
    ]


def _check_manifest(
    manifest: dict[str, Any], rows: list[Row], unique: list[Row], expected: list[Row]
) -> None:
    def counts(kept: list[Row]) -> dict[str, int]:
        users, items = {user for user, _, _ in kept}, {item for _, item, _ in kept}
        return {"users": len(users), "items": len(items), "interactions": len(kept)}

    assert manifest["before"] == counts(rows)
    assert manifest["after"] == counts(expected)
    filters = {entry["filter"]: entry["dropped"] for entry in manifest["filters"]}
    assert filters["repeated rows"]["interactions"] == len(rows) - len(unique)
    for what, before in manifest["before"].items():
        assert before - sum(d[what] for d in filters.values()) == manifest["after"][what]


@given(ROWS, st.randoms(use_true_random=False), st.sampled_from(["random", "id"]))
@settings(max_examples=40)
def test_order_of_rows_changes_nothing(
    rows: list[Row], random: Any, ties: Literal["random", "id"]
) -> None:
    rows += [("a", item, 0.0) for item in "uvw"]
    shuffled = list(rows)
    random.shuffle(shuffled)
    one, two = (prepare_domain(raw(r), k_core=1, ties=ties, seed=3) for r in (rows, shuffled))
    assert one.manifest["hash"] == two.manifest["hash"]
    assert histories(one) == histories(two)


def test_random_ties_are_random_seeded_and_independent_of_filters() -> None:
    rows = [(f"u{user:02d}", f"i{item:02d}", 7.0) for user in range(40) for item in range(12)]
    first = histories(prepare_domain(raw(rows), k_core=1, seed=0))
    assert first == histories(prepare_domain(raw(rows), k_core=1, seed=0))
    other = histories(prepare_domain(raw(rows), k_core=1, seed=1))
    assert all(first[user] != other[user] for user in first)
    assert len({tuple(history) for history in first.values()}) == 40
    # Every place is likely for every item: the mean place of 40 draws of 0 … 11 is 5.5 ± 0.55.
    places = [history.index("i00") for history in first.values()]
    assert 3.5 < np.mean(places) < 7.5
    # A user and an item that a k-core takes away leave the others in their order.
    more = [*rows, ("a", "a", 7.0), ("a", "b", 7.0), ("a", "c", 7.0)]
    titled = {item: "" for _, item, _ in more}
    with_more = histories(prepare_domain(raw(more, titled), k_core=1, seed=0))
    cored = histories(prepare_domain(raw(more, titled), k_core=5, seed=0))
    with_more.pop("a")
    assert cored == with_more


@given(ROWS, st.sampled_from(["", "0", "b5", "z9"]))
@settings(max_examples=40)
def test_what_is_new_changes_nobodys_order(rows: list[Row], new: str) -> None:
    """Up to half of all last items tie: another order would make tests of what was trained on."""
    rows += [("a", item, 0.0) for item in "uvw"]
    known = histories(prepare_domain(raw(rows), k_core=1))
    more = [*rows, *((f"{new}user", item, 0.0) for item in ("u", f"{new}item", f"{new}other"))]
    grown = histories(prepare_domain(raw(more), k_core=1))
    assert {user: grown[user] for user in known} == known


def test_random_ties_hang_on_seed_user_and_item() -> None:
    """SplitMix64 of the seed, then of the user's and of the item's BLAKE2b, as Python's ints."""

    def split_mix(state: int) -> int:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        return state ^ (state >> 31)

    def key(user: str, item: str) -> int:
        state = split_mix(3)
        for text in (user, item):
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            state = split_mix(state ^ int.from_bytes(digest, "little"))
        return state

    rows = [(user, f"é{item}", 7.0) for user in "ab" for item in range(20)]
    found = histories(prepare_domain(raw(rows), k_core=1, seed=3))
    for user, history in found.items():
        assert history == sorted(history, key=lambda item: key(user, item))


def test_repeats_are_kept_unless_the_time_is_the_same() -> None:
    rows = [("u", "i", 1.0), ("u", "j", 2.0), ("u", "i", 3.0), ("u", "i", 1.0)]
    domain = prepare_domain(raw(rows), k_core=1)
    assert histories(domain) == {"u": ["i", "j", "i"]}
    assert domain.manifest["filters"][1] == {
        "filter": "repeated rows",
        "parameters": {},
        "dropped": {"users": 0, "items": 0, "interactions": 1},
    }


def test_short_users_are_dropped_and_counted() -> None:
    rows = [("long", item, 1.0) for item in "xyz"] + [("short", "x", 1.0), ("short", "q", 2.0)]
    domain = prepare_domain(raw(rows), k_core=1)
    assert domain.user_ids == ["long"]
    assert domain.manifest["filters"][3] == {
        "filter": "shortest sequence",
        "parameters": {"user_minimum": 3, "item_minimum": 1, "rounds": 1},
        "dropped": {"users": 1, "items": 1, "interactions": 2},
    }


def test_a_k_core_that_empties_the_domain() -> None:
    rows = [("u", item, 1.0) for item in "xyz"]
    with pytest.raises(EmptyDomainError) as caught:
        prepare_domain(raw(rows), k_core=2)
    assert "shop: nothing is left" in str(caught.value)
    assert "'k-core'" in str(caught.value)
    assert "lower k_core (prepare.source_k_core or prepare.target_k_core)" in str(caught.value)
    with pytest.raises(EmptyDomainError, match="'shortest sequence'") as caught:
        prepare_domain(raw(rows[:2]), k_core=1)
    assert "1 users, 2 items, 2 interactions" in str(caught.value)
    assert "users need 3 interactions and items 1" in str(caught.value)
    assert "k_core" not in str(caught.value), "it is at its lowest"
    with pytest.raises(EmptyDomainError, match="no interactions"):
        prepare_domain(raw([], {"i": "T"}))


def test_titles_are_cleaned_and_untitled_items_counted() -> None:
    rows = [("u", item, 1.0) for item in ("01", "1", "x")]
    titles = {"x": " Tea &amp;\u00a0 Kettle\t", "01": "", "1": "&nbsp;", "unused": "U"}
    domain = prepare_domain(raw(rows, titles), k_core=1)
    assert domain.item_ids.external_ids == ["01", "1", "x"]
    assert domain.titles == ["", "", "Tea & Kettle"]
    assert domain.manifest["untitled_items"] == 2
    assert domain.manifest["before"]["items"] == 4
    assert domain.manifest["filters"][0]["dropped"] == {"users": 0, "items": 1, "interactions": 0}


def test_tie_shares() -> None:
    rows = [("u", "a", 1.0), ("u", "b", 1.0), ("u", "c", 2.0)]
    rows += [("v", "a", 1.0), ("v", "b", 2.0), ("v", "c", 2.0)]
    rows += [("w", "a", 2.0), ("w", "b", 3.0), ("w", "c", 4.0)]
    manifest = prepare_domain(raw(rows), k_core=1).manifest
    assert manifest["ties"]["tied_interactions"] == pytest.approx(4 / 9, abs=1e-6)
    assert manifest["ties"]["users_with_tied_last_item"] == pytest.approx(1 / 3, abs=1e-6)


def test_the_seed_is_recorded_where_it_matters() -> None:
    rows = [("u", item, 1.0) for item in "xyz"]
    parameters = {"k_core": 1, "min_length": 3, "ties": "random", "seed": 4}
    assert prepare_domain(raw(rows), k_core=1, seed=4).manifest["parameters"] == parameters
    by_id = prepare_domain(raw(rows), k_core=1, ties="id", seed=4).manifest["parameters"]
    assert by_id == {**parameters, "ties": "id", "seed": None}


def test_domains_without_timestamps_need_the_order_of_the_source() -> None:
    domain = raw([("u", item, 0.0) for item in "zxy"])
    without = RawDomain(
        "shop", domain.interactions.with_columns(timestamp=pl.lit(None, pl.Float64)), domain.items
    )
    assert histories(prepare_domain(without, k_core=1, ties="source")) == {"u": ["z", "x", "y"]}
    with pytest.raises(
        DataError, match=r"3 of 3 interactions have no timestamp[^$]*prepare\.ties="
    ):
        prepare_domain(without, k_core=1)


def test_impossible_settings() -> None:
    domain = raw([("u", item, 0.0) for item in "zxy"])
    with pytest.raises(SettingsError, match="k_core is 0"):
        prepare_domain(domain, k_core=0)
    with pytest.raises(SettingsError, match="ties is 'coin'"):
        prepare_domain(domain, k_core=1, ties=cast(Any, "coin"))


def test_interactions_of_items_that_are_not_listed() -> None:
    with pytest.raises(DataError, match="'y' is not among the items"):
        prepare_domain(raw([("u", "x", 0.0), ("u", "y", 0.0)], {"x": "T"}), k_core=1)
