"""Sampled negatives: never touched, never twice, uniform, seeded, within the user's range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp_tf.data.sequences import Sequences
from idp_tf.errors import DataError, SettingsError
from idp_tf.evaluation import sample_negatives
from idp_tf.evaluation.negatives import count_untouched


def of_lists(histories: list[list[int]]) -> Sequences:
    values = np.array([item for history in histories for item in history], np.int32)
    return Sequences(values, np.cumsum([0] + [len(history) for history in histories]))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[list[int]], list[int], list[int], int, int]:
    """Histories, each user's range of ids, the number of items, and n that every user allows."""
    num_items = draw(st.integers(4, 25))
    item = st.integers(1, num_items)
    histories = draw(st.lists(st.lists(item, max_size=12), min_size=1, max_size=8))
    low = [draw(st.integers(1, num_items)) for _ in histories]
    high = [draw(st.integers(first, num_items)) for first in low]
    free = [
        len(set(range(a, b + 1)) - set(h)) for h, a, b in zip(histories, low, high, strict=True)
    ]
    return histories, low, high, num_items, min(free)


@settings(max_examples=200, deadline=None)
@given(worlds(), st.integers(0, 2**31))
def test_negatives_keep_every_rule(
    world: tuple[list[list[int]], list[int], list[int], int, int], seed: int
) -> None:
    histories, low, high, num_items, most = world
    if most == 0:
        with pytest.raises(DataError, match="untouched items"):
            sample_negatives(of_lists(histories), num_items, 1, seed, low, high)
        return
    for n in {1, most}:
        drawn = sample_negatives(of_lists(histories), num_items, n, seed, low, high)
        assert drawn.shape == (len(histories), n) and drawn.dtype == np.int32
        for row, history, first, last in zip(drawn.tolist(), histories, low, high, strict=True):
            assert len(set(row)) == n
            assert set(row) <= set(range(first, last + 1)) - set(history)


def test_all_untouched_items_are_drawn_where_n_leaves_no_choice() -> None:
    drawn = sample_negatives(of_lists([[2, 5, 2], [1, 6, 3]]), 6, 3, seed=0, users=[1])
    assert sorted(drawn[0].tolist()) == [2, 4, 5]


def test_sets_are_uniform() -> None:
    # 20,000 users with the same history: each of the 10 pairs of {2, 4, 5, 7, 8} in 1/10 of them.
    users = 20_000
    drawn = np.sort(sample_negatives(of_lists([[1, 3, 6]] * users), 8, 2, seed=3), axis=1)
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 10
    expected = users / 10
    # chi-square with 9 degrees of freedom: 33.7 is its 0.9999 quantile.
    assert ((counts - expected) ** 2 / expected).sum() < 33.7


def test_seed_decides() -> None:
    sequences = of_lists([[1, 2, 3]] * 50)
    first = sample_negatives(sequences, 300, 20, seed=1)
    np.testing.assert_array_equal(first, sample_negatives(sequences, 300, 20, seed=1))
    assert not np.array_equal(first, sample_negatives(sequences, 300, 20, seed=2))


def splitmix64(state: int, count: int) -> list[int]:
    """The published generator, one number at a time."""
    found, mask = [], 2**64 - 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        found.append(z ^ (z >> 31))
    return found


@settings(max_examples=100, deadline=None)
@given(worlds(), st.integers(0, 2**31), st.data())
def test_keyed_negatives_keep_every_rule_whoever_else_is_drawn(
    world: tuple[list[list[int]], list[int], list[int], int, int], seed: int, data: st.DataObject
) -> None:
    histories, low, high, num_items, most = world
    if most == 0:
        return
    keys = [data.draw(st.integers(0, 2**64 - 1)) for _ in histories]
    together = sample_negatives(of_lists(histories), num_items, most, seed, low, high, keys=keys)
    for u, history in enumerate(histories):
        alone = sample_negatives(
            of_lists([history]), num_items, most, seed, low[u], high[u], keys=keys[u : u + 1]
        )
        assert alone[0].tolist() == together[u].tolist()
        assert len(set(alone[0].tolist())) == most
        assert set(alone[0].tolist()) <= set(range(low[u], high[u] + 1)) - set(history)


def test_keyed_sets_are_uniform_over_keys_that_follow_one_another() -> None:
    users = 20_000
    sequences = of_lists([[1, 3, 6]] * users)
    drawn = np.sort(sample_negatives(sequences, 8, 2, seed=3, keys=np.arange(users)), axis=1)
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 10
    assert ((counts - users / 10) ** 2 / (users / 10)).sum() < 33.7


def test_a_users_stream_is_splitmix64() -> None:
    # One negative of 1000: the first number of the stream that the seed and the key begin.
    drawn = sample_negatives(of_lists([[]]), 1000, 1, seed=5, keys=[77])
    mask, gamma = 2**64 - 1, 0x9E3779B97F4A7C15
    seeded = splitmix64((5 - gamma) & mask, 1)[0]
    start = splitmix64((77 + seeded - gamma) & mask, 1)[0]
    expected = (splitmix64(start, 1)[0] >> 11) * 1000 // 2**53 + 1
    assert drawn.tolist() == [[expected]]


def test_keys_that_are_too_few_are_refused() -> None:
    with pytest.raises(DataError, match="keys"):
        sample_negatives(of_lists([[1], [2]]), 9, 2, seed=0, keys=[1])


def test_rows_belong_to_the_users_given() -> None:
    sequences = of_lists([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    drawn = sample_negatives(sequences, 9, 6, seed=0, users=[2, 0])
    assert sorted(drawn[0].tolist()) == [1, 2, 3, 4, 5, 6]
    assert sorted(drawn[1].tolist()) == [4, 5, 6, 7, 8, 9]


def test_too_few_untouched_items_say_who_and_what_to_do() -> None:
    with pytest.raises(DataError, match=r"user 1 has 2 untouched.*1 of 2 users") as caught:
        sample_negatives(of_lists([[1], [1, 2, 3]]), 5, 3, seed=0)
    assert "at most 2" in str(caught.value)


def test_nobody_is_advised_to_draw_no_negatives() -> None:
    with pytest.raises(DataError, match="user 0 has 0 untouched") as caught:
        sample_negatives(of_lists([[1, 2, 3]]), 3, 3, seed=0)
    assert "at most" not in str(caught.value) and "more items" in str(caught.value)


def test_untouched_items_are_counted_once() -> None:
    assert count_untouched(of_lists([[1, 2], [1, 2, 2, 3]]), 5).tolist() == [3, 2]


def test_impossible_arguments() -> None:
    sequences = of_lists([[1, 2, 3]])
    with pytest.raises(SettingsError, match="at least 1"):
        sample_negatives(sequences, 9, 0, seed=0)
    with pytest.raises(SettingsError, match="no range"):
        sample_negatives(sequences, 9, 1, seed=0, item_low=5, item_high=10)
    with pytest.raises(DataError, match="user 1 is not in"):
        sample_negatives(sequences, 9, 1, seed=0, users=[1])


def test_no_users_give_no_rows() -> None:
    assert sample_negatives(of_lists([]), 9, 4, seed=0).shape == (0, 4)
