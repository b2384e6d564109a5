"""Cold items are in no sequence of what is left, and nobody's held-out items are trained on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp_tf.data import Domain, IdMap, Sequences
from idp_tf.data.cold import choose_cold_items, users_tested_on, without_items
from idp_tf.errors import DataError


def domain(*users):
    lengths = [len(user) for user in users]
    sequences = Sequences(np.concatenate(users).astype(np.int32), np.cumsum([0, *lengths]))
    titles = [f"title {i}" for i in range(1, 8)]
    names = [f"user {u}" for u in range(len(users))]
    return Domain("tea", IdMap([f"item {i}" for i in range(1, 8)]), titles, names, sequences, {})


def test_by_hand():
    warm = without_items(domain([1, 2, 3, 4], [5, 2, 4, 1, 6], [2, 3, 5]), [2, 5], "warm")
    assert warm.item_ids.external_ids == ["item 1", "item 3", "item 4", "item 6", "item 7"]
    assert warm.titles == ["title 1", "title 3", "title 4", "title 6", "title 7"]
    assert warm.user_ids == ["user 0", "user 1"]
    assert warm.sequences.values.tolist() == [1, 2, 3, 3, 1, 4]
    assert warm.sequences.offsets.tolist() == [0, 3, 6]
    assert (warm.manifest["dropped_users"], warm.manifest["dropped_interactions"]) == (1, 6)


def test_nobody_left():
    with pytest.raises(DataError, match="no user has 3") as caught:
        without_items(domain([1, 2, 3]), [2], "warm")
    assert caught.value.remedy == "bring users with longer histories"


def test_users_are_told_by_their_last_item():
    sequences = domain([1, 2, 3], [3, 2, 1], [1, 3, 5], [5, 4, 3]).sequences
    assert users_tested_on(sequences, [3, 5]).tolist() == [0, 2, 3]
    assert users_tested_on(sequences, [2]).tolist() == []


@given(
    st.lists(st.lists(st.integers(1, 7), min_size=3, max_size=9), min_size=1, max_size=5),
    st.sets(st.integers(1, 7), max_size=3),
)
def test_order_and_last_items_stay(users, cold):
    expected = [[i for i in user if i not in cold] for user in users]
    kept = [user for user in expected if len(user) >= 3]
    if not kept:
        return
    warm = without_items(domain(*users), sorted(cold), "warm")
    names = np.array(["", *warm.item_ids.external_ids])
    found = np.split(names[warm.sequences.values], warm.sequences.offsets[1:-1])
    assert [row.tolist() for row in found] == [[f"item {i}" for i in user] for user in kept]


def test_the_share_is_of_all_items():
    chosen = choose_cold_items(200, 0.1, seed=3)
    assert len(set(chosen.tolist())) == 20 and chosen.min() >= 1 and chosen.max() <= 200
    assert not np.array_equal(chosen, choose_cold_items(200, 0.1, seed=4))
