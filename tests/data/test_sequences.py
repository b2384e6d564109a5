"""The flat store and its leave-one-out views."""

import numpy as np
import pytest

from idp_tf.data.domain import Domain, MergedDomains
from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import DataError


@pytest.fixture
def sequences():
    return Sequences(np.array([1, 2, 3, 4, 5, 6, 7], np.int32), np.array([0, 4, 7]))


def test_views(sequences):
    np.testing.assert_array_equal(sequences.lengths, [4, 3])
    np.testing.assert_array_equal(
        sequences.left_padded([1, 0], 3, leave_out=1), [[0, 5, 6], [1, 2, 3]]
    )
    np.testing.assert_array_equal(sequences.left_padded([0], 2, leave_out=2), [[1, 2]])
    np.testing.assert_array_equal(sequences.item_from_end([0, 1], 2), [3, 6])
    kept = sequences.truncated(2)
    np.testing.assert_array_equal(kept.values, [1, 2, 5])
    np.testing.assert_array_equal(kept.offsets, [0, 2, 3])
    np.testing.assert_array_equal(sequences.item_counts(7), [0, 1, 1, 0, 0, 1, 0, 0])


def test_save_and_load(sequences, tmp_path):
    sequences.save(tmp_path)
    loaded = Sequences.load(tmp_path)
    np.testing.assert_array_equal(loaded.values, sequences.values)
    assert isinstance(loaded.values, np.memmap)


def test_bad_offsets_and_short_users_are_refused(sequences):
    with pytest.raises(DataError, match="offsets"):
        Sequences(np.array([1], np.int32), np.array([0, 2]))
    with pytest.raises(DataError, match="user 1 has fewer than 4"):
        sequences.item_from_end([0, 1], 4)


def make_domain(name, items, values):
    return Domain(
        name,
        IdMap(items),
        [f"title {item}" for item in items],
        ["u"],
        Sequences(np.array(values, np.int32), np.array([0, len(values)])),
        {},
    )


def test_merged_domains_have_disjoint_ids():
    merged = MergedDomains.of(
        [make_domain("tea", ["x", "y"], [2, 1]), make_domain("cups", ["x", "z", "w"], [3, 1])]
    )
    assert merged.num_items == 5
    np.testing.assert_array_equal(merged.item_ranges, [[1, 2], [3, 5]])
    np.testing.assert_array_equal(merged.sequences.values, [2, 1, 5, 3])
    np.testing.assert_array_equal(merged.domain_of([1, 2, 3, 5]), [0, 0, 1, 1])
    assert merged.external_ids == ["tea:x", "tea:y", "cups:x", "cups:z", "cups:w"]
    assert merged.titles[3] == "title z"


def test_domains_of_one_name_are_refused():
    with pytest.raises(DataError, match="own name"):
        MergedDomains.of([make_domain("tea", ["x"], [1]), make_domain("tea", ["x"], [1])])


def test_id_map_refuses_repeated_and_empty_ids():
    with pytest.raises(DataError, match="'a' stands there twice"):
        IdMap(["a", "b", "a"])
    with pytest.raises(DataError, match="empty"):
        IdMap(["a", ""])
    with pytest.raises(DataError, match=r"not in 1 … 2"):
        IdMap(["a", "b"]).to_external([3])
