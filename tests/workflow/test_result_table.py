"""The table for a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from idp_tf.errors import DataError
from idp_tf.workflow.result_table import format_results
from idp_tf.workflow.scores import best_two, collect_scores, protocols_of


def row(system: str, protocol: str, ndcg: float, seed: int = 0) -> dict[str, Any]:
    metrics = {"HR@5": 0.3, "NDCG@5": ndcg, "NDCG@10": 0.25, "MRR": 0.2}
    return {
        "system": system, "domain": "tea", "protocol": protocol, "seed": seed, "users": 4905,
        "metrics": metrics, "ci95": {"NDCG@5": [ndcg - 0.02, ndcg + 0.04]}, "seconds": 1.0,
    }  # fmt: skip


REPORT = {
    "results": [
        row("new-one", "full", 0.01),
        row("idp", "full", 0.03),
        row("idp", "sampled-99", 0.22),
        row("idp", "sampled-99", 0.26, seed=1),
        row("popularity", "sampled-99", 0.04),
    ]
}


def test_systems_are_rows_and_protocols_stand_side_by_side() -> None:
    lines = format_results(REPORT, "tea").splitlines()
    assert lines[0].split() == ["sampled-99", "full"]
    assert lines[1].split() == ["system"] + ["HR@5", "NDCG@5", "NDCG@10", "MRR"] * 2
    rows = [line.split() for line in lines[3:6]]
    assert rows[0] == ["popularity", "0.3000*", "0.0400", "0.2500*", "0.2000*"] + ["—"] * 4
    assert rows[1][0] == "idp" and rows[1][2] == "0.2400*" and rows[1][6] == "0.0300*"
    assert rows[2][0] == "new-one" and rows[2][1:5] == ["—"] * 4
    assert "4,905 users" in lines[6] and "mean over up to 2 seeds" in lines[6]
    assert all(len(line) <= 110 for line in lines[:6])
    assert "\x1b" not in "\n".join(lines)


def test_cold_protocols_have_a_table_of_their_own() -> None:
    cold = [row("idp-inner", "sampled-99-cold", 0.1), row("idp", "full-cold", 0.02)]
    lines = format_results({"results": [*REPORT["results"], *cold]}, "tea").splitlines()
    assert lines[:6] == format_results(REPORT, "tea").splitlines()[:6]
    assert lines[7].split() == ["sampled-99-cold", "full-cold"]
    assert [line.split()[0] for line in lines[10:12]] == ["idp-inner", "idp"]


def test_colour_only_where_asked_for() -> None:
    assert "\x1b[1m" in format_results(REPORT, "tea", color=True)


def test_a_demonstration_says_so() -> None:
    assert "never evidence" in format_results({**REPORT, "demonstration": True}, "tea")
    assert "never evidence" not in format_results(REPORT, "tea")


def test_a_domain_without_results_is_refused() -> None:
    with pytest.raises(DataError, match="no results of domain 'coffee'") as caught:
        format_results(REPORT, "coffee")
    assert "tea" in str(caught.value)


def test_seeds_are_gathered() -> None:
    assert protocols_of(REPORT, "tea") == ["sampled-99", "full"]
    popularity, idp = collect_scores(REPORT, "tea", "sampled-99")
    assert (popularity.system, idp.system, idp.seeds) == ("popularity", "idp", 2)
    assert idp.mean["NDCG@5"] == pytest.approx(0.24)
    # The sample standard deviation of 0.22 and 0.26.
    assert idp.sd["NDCG@5"] == pytest.approx(0.04 / 2**0.5)
    assert idp.ci95["NDCG@5"] == pytest.approx((0.22, 0.28))
    assert popularity.sd == {}
    assert best_two([popularity, idp], "NDCG@5") == pytest.approx((0.24, 0.04))
    assert best_two([popularity, idp], "HR@5") == (0.3, None)
