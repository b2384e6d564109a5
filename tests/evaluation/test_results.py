"""A row of results holds the metrics and their intervals over users."""

from __future__ import annotations

import math

import pytest

from idp_tf.evaluation import result_row


def test_row_by_hand() -> None:
    row = result_row([1, 2, 1, 9], system="idp", domain="tea", protocol="full", seed=3, seconds=2.5)
    assert row["metrics"]["HR@1"] == 0.5 and row["users"] == 4 and row["seed"] == 3
    # Values 1 0 1 0: sd sqrt(1/3); 3.182446 is the 0.975 quantile of t with 3 degrees.
    half = 3.182446 * math.sqrt(1 / 3) / 2
    assert row["ci95"]["HR@1"] == pytest.approx([0.5 - half, 0.5 + half], abs=1e-6)
    assert set(row["ci95"]) == set(row["metrics"])


def test_one_user_has_no_interval() -> None:
    row = result_row([2], system="idp", domain="tea", protocol="full", seed=0, seconds=0.0)
    assert row["ci95"] == {} and row["metrics"]["MRR"] == 0.5
