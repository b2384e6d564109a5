"""Items left out of histories, and targets left out of batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp_tf.errors import SettingsError
from idp_tf.layers import ItemDrop, PositionSample, keep_items


@given(st.integers(1, 9), st.integers(1, 6), st.integers(0, 2**16))
def test_kept_items_are_those_of_plain_python(length, users, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 100, (users, length), dtype=np.int32)
    for row, padding in zip(ids, rng.integers(0, length + 1, users), strict=True):
        row[:padding] = 0
    keep = rng.random((users, length)) < 0.5
    wanted = np.zeros_like(ids)
    for row, (history, kept) in enumerate(zip(ids, keep, strict=True)):
        items = [(item, stays) for item, stays in zip(history, kept, strict=True) if item]
        left = [item for place, (item, stays) in enumerate(items) if stays or place == 0]
        wanted[row, length - len(left) :] = left
    np.testing.assert_array_equal(keep_items(ids, keep), wanted)


def test_a_fifth_of_the_items_but_the_oldest_goes():
    ids = np.tile(np.arange(1, 51, dtype=np.int32), (400, 1))
    left = ItemDrop(0.2, seed=3)(ids).numpy()
    assert abs((left == 0).sum() / (400 * 49) - 0.2) < 0.01
    for row in left:
        items = row[row > 0]
        assert items[0] == 1 and (np.diff(items) > 0).all()


def test_what_goes_is_a_function_of_seed_and_count():
    ids = np.tile(np.arange(1, 51, dtype=np.int32), (4, 1))
    first, second = ItemDrop(seed=1), ItemDrop(seed=1)
    one, two = first(ids).numpy(), first(ids).numpy()
    assert not np.array_equal(one, two)
    second.calls.assign(1)
    np.testing.assert_array_equal(second(ids), two)
    assert not np.array_equal(ItemDrop(seed=2)(ids), one)
    np.testing.assert_array_equal(ItemDrop(0.0)(ids), ids)


def test_impossible_rates_are_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\), got 1"):
        ItemDrop(1)


@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**16))
def test_as_many_positives_stay_as_may(length, users, most, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 4, (users, length), dtype=np.int32)
    left = PositionSample(most, seed)(ids).numpy()
    assert (left != 0).sum() == min(most, (ids != 0).sum())
    np.testing.assert_array_equal(left, np.where(left != 0, ids, 0))


def test_all_positives_have_the_same_chance_and_each_call_draws_anew():
    ids = np.array([[0, 0, 1, 2], [3, 4, 5, 6]], np.int32)
    sample = PositionSample(2, seed=1)
    stayed = np.mean([sample(ids).numpy() != 0 for _ in range(600)], axis=0)
    # A third of the six; the standard error is 0.02.
    np.testing.assert_allclose(stayed, (ids != 0) / 3, atol=0.08)
    one, two = (PositionSample(2, seed=1) for _ in range(2))
    one(ids)
    two.calls.assign(1)
    np.testing.assert_array_equal(one(ids), two(ids))


def test_no_positive_at_all_is_refused():
    with pytest.raises(SettingsError, match="at least 1"):
        PositionSample(0)
