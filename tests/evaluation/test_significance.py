"""Paired tests against the textbook formula, and the cases a t-test stumbles over."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from scipy import special

from idp_tf.errors import DataError
from idp_tf.evaluation import compare_systems, paired_test


def t_two_sided(t: float, freedom: int) -> float:
    """Two-sided p from the regularised incomplete beta function."""
    return float(special.betainc(freedom / 2, 0.5, freedom / (freedom + t * t)))


def test_paired_test_by_the_formula() -> None:
    first, second = [0.9, 0.4, 0.7, 0.1, 0.6], [0.5, 0.5, 0.2, 0.0, 0.1]
    p, mean, (low, high) = paired_test(first, second)
    differences = [0.4, -0.1, 0.5, 0.1, 0.5]
    centre = sum(differences) / 5
    error = math.sqrt(sum((d - centre) ** 2 for d in differences) / 4 / 5)
    assert mean == pytest.approx(0.28)
    assert p == pytest.approx(t_two_sided(centre / error, 4))
    # 2.776445 is the 0.975 quantile of t with 4 degrees of freedom, from a printed table.
    assert low == pytest.approx(0.28 - 2.776445 * error, abs=1e-6)
    assert high == pytest.approx(0.28 + 2.776445 * error, abs=1e-6)


def test_the_better_system_stands_first() -> None:
    ranks = {"idp": [1, 1, 2, 1], "sasrec": [3, 2, 2, 9]}
    for pair in (("idp", "sasrec"), ("sasrec", "idp")):
        (found,) = compare_systems(ranks, [pair], domain="office", protocol="full")
        assert (found["better"], found["than"]) == ("idp", "sasrec")
        assert found["mean_difference"] > 0
        assert found["ci95"][0] < found["mean_difference"] < found["ci95"][1]
        assert found["seeds"] == {"idp": 1, "sasrec": 1}
        assert (found["users"], found["metric"]) == (4, "NDCG@5")
        assert (found["domain"], found["protocol"]) == ("office", "full")


def test_seeds_are_averaged_per_user_first() -> None:
    ranks = {"a": np.array([[1, 2, 9], [3, 2, 1]]), "b": np.array([2, 9, 9])}
    (found,) = compare_systems(ranks, [("a", "b")], domain="d", protocol="full", metrics=["MRR"])
    means = np.array([(1 + 1 / 3) / 2, 1 / 2, (1 / 9 + 1) / 2])
    difference = means - np.array([1 / 2, 1 / 9, 1 / 9])
    t = difference.mean() / (difference.std(ddof=1) / math.sqrt(3))
    assert found["mean_difference"] == pytest.approx(difference.mean())
    assert found["p"] == pytest.approx(t_two_sided(float(t), 2))
    assert found["seeds"] == {"a": 2, "b": 1}


def test_no_variance_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = paired_test([0.1, 0.7, 0.3], [0.1, 0.7, 0.3])
        shifted = paired_test([1.1, 1.7, 1.3], [0.1, 0.7, 0.3])
    assert same == (1.0, 0.0, [0.0, 0.0])
    assert shifted[0] == 0.0 and shifted[1] == pytest.approx(1.0)
    assert shifted[2] == [shifted[1], shifted[1]]


def test_what_cannot_be_paired_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be paired"):
        paired_test([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="cannot be paired"):
        paired_test([1.0], [2.0])
    with pytest.raises(DataError, match="no ranks of 'c'"):
        compare_systems({"a": [1, 2]}, [("a", "c")], domain="d", protocol="full")
