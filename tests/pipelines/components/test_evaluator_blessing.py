"""Thresholds: what passes, what does not, and the words for it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from scipy import stats

from pipelines.components.evaluator import (
    DifferenceThreshold,
    EvaluatorParameters,
    SliceGuard,
    ValueThreshold,
)
from pipelines.components.evaluator.blessing import check_results
from pipelines.components.evaluator.ranking import ScopeItems
from pipelines.components.evaluator.results import Results
from pipelines.components.evaluator.sums import MetricSums
from pipelines.components.infra_validator import InfraValidatorParameters
from pipelines.components.verdict import Check, read_failures, write_verdict

ONLY_USERS: dict[str, Any] = {"differences": (), "guards": ()}
RNG = np.random.default_rng(0)


def results(ranks: np.ndarray, slices: dict[str, np.ndarray] | None = None) -> Results:
    """Columns: model, control, baseline; slices are lengths of the history."""
    scope = ScopeItems("all", ["a"], ("model", "control", "baseline"))
    sums = {("all", "full", "overall", "all"): MetricSums.of(ranks)}
    for name, members in (slices or {}).items():
        sums["all", "full", "history_length", name] = MetricSums.of(ranks[members])
    return Results.of(sums, [scope], EvaluatorParameters())


def checks(found: Results, has_baseline: bool = True, **parameters: Any) -> dict[str, Check]:
    told = EvaluatorParameters(**{**ONLY_USERS, "min_users": 2, **parameters})
    return {c.name: c for c in check_results(found, told, has_baseline=has_baseline)}


def hits(model: int, other: int, users: int = 1000) -> np.ndarray:
    """Ranks of 1 for the first so many users of each, else 50: HR@10 is the share of them."""
    columns = [np.where(np.arange(users) < count, 1, 50) for count in (model, other, other)]
    return np.stack(columns, axis=1)


def test_too_few_users_decide_nothing() -> None:
    found = checks(results(hits(3, 3, users=10)), min_users=11)
    assert not found["users"].passed and found["users"].value == 10


@pytest.mark.parametrize(("least", "passed"), [(0.3, True), (0.31, False)])
def test_a_least_value(least: float, passed: bool) -> None:
    told = ValueThreshold(metric="HR@10", min_value=least)
    check = checks(results(hits(300, 500)), values=(told,))["full HR@10"]
    assert check.passed is passed and check.value == 0.3 and check.threshold == least
    assert "0.3000" in check.words


@pytest.mark.parametrize(("control", "passed"), [(299, True), (300, True), (301, False)])
def test_the_control_must_not_lead(control: int, passed: bool) -> None:
    told = DifferenceThreshold(metric="HR@10", against="control", min_difference=0.0)
    check = checks(results(hits(300, control)), differences=(told,))
    found = check["full HR@10 against the control"]
    assert found.passed is passed and found.value == pytest.approx((300 - control) / 1000)


@pytest.mark.parametrize(("margin", "passed"), [(-0.2, True), (-0.1, False)])
def test_non_inferiority_takes_the_lower_bound(margin: float, passed: bool) -> None:
    # 20 of 1000 users are lost: -0.02 on average, a tenth of the baseline's 0.2 is -0.02 too.
    found = results(hits(180, 200))
    told = DifferenceThreshold(
        metric="HR@10", against="baseline", min_difference=margin, relative=True, confidence=0.95
    )
    check = checks(found, differences=(told,))["full HR@10 against the baseline"]
    values = np.where((np.arange(1000) >= 180) & (np.arange(1000) < 200), -1.0, 0.0)
    low = stats.ttest_1samp(values, 0, alternative="greater").confidence_interval(0.95).low
    assert check.value == pytest.approx(low, rel=1e-9)
    assert check.threshold == pytest.approx(margin * 0.2)
    assert check.passed is passed


def test_more_users_show_that_a_model_is_not_inferior() -> None:
    told = DifferenceThreshold(
        metric="HR@10", against="baseline", min_difference=-0.05, relative=True, confidence=0.95
    )
    few, many = RNG.integers(1, 21, (100, 3)), RNG.integers(1, 21, (100_000, 3))
    name = "full HR@10 against the baseline"
    assert not checks(results(few), differences=(told,))[name].passed
    assert checks(results(many), differences=(told,))[name].passed


def test_a_guard_fails_a_slice_that_is_surely_worse() -> None:
    ranks = np.concatenate([hits(400, 400, 900), hits(20, 80, 100), hits(0, 30, 40)])
    members = np.repeat(["5-9", "0-2", "3-4"], [900, 100, 40])
    found = results(ranks, {name: members == name for name in np.unique(members).tolist()})
    guard = SliceGuard(metric="HR@10", min_difference=-0.1, min_users=50)
    told = checks(found, guards=(guard,))
    by_slice = {name.partition(":")[0]: check for name, check in told.items()}
    assert by_slice["history_length 5-9"].passed
    assert not by_slice["history_length 0-2"].passed
    assert by_slice["history_length 3-4"].passed  # worse, but too few users
    assert "too few" in by_slice["history_length 3-4"].words
    lost = np.where((np.arange(100) >= 20) & (np.arange(100) < 80), -1.0, 0.0)
    best = stats.ttest_1samp(lost, 0, alternative="less").confidence_interval(0.95).high
    assert by_slice["history_length 0-2"].value == pytest.approx(best, rel=1e-9)


def test_a_baseline_that_shares_no_item_is_no_reason_to_bless() -> None:
    scope = ScopeItems("all", ["a"], ("model", "control"))
    sums = {("all", "full", "overall", "all"): MetricSums.of(hits(3, 3)[:, :2])}
    told = DifferenceThreshold(metric="HR@10", against="baseline", min_difference=-1)
    found = checks(Results.of(sums, [scope], EvaluatorParameters()), differences=(told,))
    check = found["full HR@10 against the baseline"]
    assert not check.passed and "Only 0 users can be compared" in check.words


@pytest.mark.parametrize(("passed", "mark"), [(True, "BLESSED"), (False, "NOT_BLESSED")])
def test_a_verdict_is_an_empty_file_and_reasons(tmp_path: Path, passed: bool, mark: str) -> None:
    told = [Check("a", 1.0, 0.5, True, "Fine."), Check("b", 0.1, 0.5, passed, "b is 0.1.")]
    assert write_verdict(tmp_path, told, ("BLESSED", "NOT_BLESSED")) is passed
    assert {file.name for file in tmp_path.iterdir()} == {mark, "reasons.json"}
    assert (tmp_path / mark).read_bytes() == b""
    reasons = json.loads((tmp_path / "reasons.json").read_text())
    assert reasons["checks"][1] == {
        "name": "b", "value": 0.1, "threshold": 0.5, "passed": passed, "words": "b is 0.1.",
    }  # fmt: skip
    assert read_failures(tmp_path) == ([] if passed else ["b is 0.1."])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"values": [{"metric": "NDCG@7", "min_value": 0}]}, "NDCG@7"),
        ({"negatives": 50, "values": [{"protocol": "sampled-99", "min_value": 0}]}, "sampled-50"),
        ({"guards": [{"dimensions": ["colour"]}]}, "colour"),
        ({"history_edges": [5, 3]}, "rise"),
        ({"popularity_edges": [0, 3]}, "rise"),
        ({"treshold": 1}, "treshold"),
    ],
)
def test_impossible_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EvaluatorParameters(**parameters)


def test_the_settings_in_the_docs_are_what_they_say() -> None:
    page = (Path(__file__).parents[3] / "docs" / "pipelines-judging.md").read_text()
    told = {
        name: settings
        for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
        for name, settings in yaml.safe_load(block).items()
    }
    parsed = EvaluatorParameters(**told["evaluator"])
    assert parsed == EvaluatorParameters(values=parsed.values) and len(parsed.values) == 1
    infra = told["infra_validator"]
    served = infra.pop("tf_serving")
    assert InfraValidatorParameters(**infra) == InfraValidatorParameters()
    assert str(InfraValidatorParameters(tf_serving=served).tf_serving.base_path).startswith("/")
