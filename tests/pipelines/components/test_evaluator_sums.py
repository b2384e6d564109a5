"""Sums of metrics: exact in any order, and the statistics that SciPy and NumPy find."""

from __future__ import annotations

import json
import math
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from idp_tf.metrics import METRIC_NAMES
from pipelines.components.evaluator.sums import MetricSums

MODEL, OTHER, DIFFERENCE = 0, 1, 2


def by_hand(ranks: np.ndarray, metric: str) -> np.ndarray:
    """The definitions, from the ranks."""
    if metric == "MRR":
        return 1 / ranks
    k = int(metric.partition("@")[2])
    return np.where(ranks <= k, 1.0 if metric.startswith("HR") else 1 / np.log2(1 + ranks), 0.0)


@given(st.data(), st.integers(1, 40), st.integers(1, 3))
def test_any_split_into_batches_gives_the_same_bits(
    data: st.DataObject, users: int, systems: int
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    ranks = rng.integers(1, 200_000, (users, systems))
    cuts = sorted(data.draw(st.sets(st.integers(1, users), max_size=5)) - {users})
    parts = [MetricSums.of(part) for part in np.split(ranks, cuts)]
    order = data.draw(st.permutations(range(len(parts))))
    together = reduce(add, [parts[place] for place in order]).to_json()
    assert together == MetricSums.of(ranks).to_json()
    assert MetricSums.from_json(json.loads(json.dumps(together))).to_json() == together


@pytest.mark.parametrize("metric", METRIC_NAMES)
def test_means_intervals_and_tests_are_those_of_scipy(metric: str) -> None:
    ranks = np.random.default_rng(1).integers(1, 30, (500, 2))
    sums = MetricSums.of(ranks)
    first, second = (by_hand(ranks[:, place], metric) for place in (0, 1))
    for row, values in ((MODEL, first), (OTHER, second), (DIFFERENCE, first - second)):
        found = sums.estimate(row, metric)
        assert found.users == 500
        assert found.mean == pytest.approx(values.mean(), abs=1e-14)
        assert found.deviation == pytest.approx(values.std(ddof=1), abs=1e-12)
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert found.interval() == pytest.approx((expected.low, expected.high), abs=1e-12)
    tested = stats.ttest_rel(first, second)
    assert sums.estimate(DIFFERENCE, metric).p == pytest.approx(tested.pvalue, rel=1e-9)
    one_sided = stats.ttest_rel(first, second, alternative="greater").confidence_interval(0.9)
    assert sums.estimate(DIFFERENCE, metric).bound(0.9)[0] == pytest.approx(one_sided.low)


def test_a_difference_that_is_the_same_for_all_needs_no_test() -> None:
    sums = MetricSums.of([[1, 2], [1, 2], [1, 2]])
    assert sums.estimate(DIFFERENCE, "MRR").p == 0
    assert sums.estimate(DIFFERENCE, "MRR").interval() == (0.5, 0.5)
    assert sums.estimate(DIFFERENCE, "HR@3").p == 1


def test_one_user_has_a_mean_and_no_interval() -> None:
    found = MetricSums.of([[4]]).estimate(MODEL, "MRR")
    assert found.mean == 0.25
    assert all(map(math.isnan, (*found.interval(), found.p)))
