"""Metrics against values worked out by hand and a naive loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp_tf import metrics
from idp_tf.errors import DataError, SettingsError

RANKS = st.lists(st.integers(1, 5000), min_size=1, max_size=40)


def test_hand_values() -> None:
    ranks = [1, 2, 3, 11]
    assert metrics.hit_rate(ranks, 1) == 0.25
    assert metrics.hit_rate(ranks, 3) == 0.75
    assert metrics.hit_rate(ranks, 10) == 0.75
    assert metrics.ndcg(ranks, 3) == pytest.approx((1 + 0.6309297535714575 + 0.5) / 4)
    assert metrics.reciprocal_rank(ranks) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 11) / 4)


def test_summarize_names_in_order() -> None:
    assert list(metrics.summarize([4])) == [
        "HR@1", "HR@3", "HR@5", "HR@10", "NDCG@1", "NDCG@3", "NDCG@5", "NDCG@10", "MRR",
    ]  # fmt: skip


@given(RANKS)
def test_summarize_equals_a_loop(ranks: list[int]) -> None:
    summary = metrics.summarize(np.array(ranks, np.int32))
    for k in (1, 3, 5, 10):
        hits = sum(1 for rank in ranks if rank <= k) / len(ranks)
        gain = sum(1 / math.log2(rank + 1) for rank in ranks if rank <= k) / len(ranks)
        assert summary[f"HR@{k}"] == pytest.approx(hits)
        assert summary[f"NDCG@{k}"] == pytest.approx(gain)
    assert summary["MRR"] == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))
    assert summary["HR@1"] == summary["NDCG@1"]


def test_per_user_keeps_the_shape_of_seeds_and_users() -> None:
    values = metrics.per_user(np.array([[1, 6], [3, 2]]), "NDCG@5")
    assert values.shape == (2, 2)
    np.testing.assert_allclose(values, [[1.0, 0.0], [0.5, 1 / math.log2(3)]])
    np.testing.assert_array_equal(metrics.per_user([1, 4], "HR@3"), [1.0, 0.0])
    np.testing.assert_array_equal(metrics.per_user([1, 4], "MRR"), [1.0, 0.25])


@pytest.mark.parametrize("name", ["ndcg@5", "HR", "HR@0", "HR@05", "MRR@5", "NDCG@5 "])
def test_unknown_metric_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="unknown metric"):
        metrics.per_user([1], name)


@pytest.mark.parametrize("ranks", [[0], [3, -1], [math.nan]])
def test_ranks_below_one_are_refused(ranks: list[float]) -> None:
    with pytest.raises(DataError, match="ranks start at 1"):
        metrics.summarize(ranks)


def test_no_ranks_and_no_k_are_refused() -> None:
    with pytest.raises(DataError, match="no ranks"):
        metrics.summarize([])
    with pytest.raises(SettingsError, match="k is 0"):
        metrics.hit_rate([1], 0)
