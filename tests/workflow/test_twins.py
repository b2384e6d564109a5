"""Systems beside their twins: differences by hand, and losses told as gains are."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pytest

from idp_tf.config import load_settings
from idp_tf.workflow.preflight import check_run
from idp_tf.workflow.run import Run, RunConfig
from idp_tf.workflow.twins import compare_twins, missing_twins, twin_groups

# Of Student's t with 7 degrees of freedom, from a table.
T_975 = 2.365

OFTEN_BETTER = [1, 1, 1, 1, 1, 1, 1, 3]
RANKS = {
    "sasrec": np.array([[2, 3, 5, 2, 3, 9, 4, 3]]),
    "idp": np.array([OFTEN_BETTER]),
    "idp-zero-shot": np.array([[9, 40, 30, 8, 20, 9, 10, 30]]),
    "idp-wo-bcl": np.array([[3, 2, 5, 3, 2, 9, 4, 3]]),
    "popularity": np.array([[7, 7, 7, 7, 7, 7, 7, 7]]),
}


def ndcg(ranks: list[int], k: int) -> list[float]:
    return [1 / math.log2(rank + 1) if rank <= k else 0.0 for rank in ranks]


def test_differences_by_hand() -> None:
    found = compare_twins({"full": RANKS}, domain="tea", metrics=["NDCG@5", "NDCG@10"])
    assert [(entry["system"], entry["twin"]) for entry in found] == [
        ("idp", "sasrec"), ("idp-zero-shot", "sasrec"), ("idp-wo-bcl", "sasrec"),
    ]  # fmt: skip
    assert [[c["verdict"] for c in entry["comparisons"]] for entry in found] == [
        ["gain", "gain"], ["loss", "loss"], ["no difference shown", "no difference shown"],
    ]  # fmt: skip
    for entry in found:
        for comparison, k in zip(entry["comparisons"], (5, 10), strict=True):
            own, twin = (ndcg(RANKS[s][0].tolist(), k) for s in (entry["system"], "sasrec"))
            differences = [a - b for a, b in zip(own, twin, strict=True)]
            mean = sum(differences) / 8
            sd = math.sqrt(sum((d - mean) ** 2 for d in differences) / 7)
            half = T_975 * sd / math.sqrt(8)
            assert comparison["metric"] == f"NDCG@{k}"
            assert comparison["mean_difference"] == pytest.approx(mean, abs=1e-12)
            assert comparison["ci95"] == pytest.approx([mean - half, mean + half], abs=1e-4)
            assert comparison["users"] == 8
            assert comparison["seeds"] == {entry["system"]: 1, "sasrec": 1}


def test_the_verdict_and_p_agree() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        ranks = {"full": {s: rng.integers(1, 12, (2, 12)) for s in ("sasrec", "idp")}}
        (entry,) = compare_twins(ranks, domain="tea", metrics=["NDCG@10"])
        (found,) = entry["comparisons"]
        assert (found["verdict"] == "no difference shown") == (found["p"] >= 0.05)


def test_the_same_ranks_show_no_difference() -> None:
    ranks = {"full": {"sasrec": RANKS["idp"], "idp": RANKS["idp"]}}
    (entry,) = compare_twins(ranks, domain="tea", metrics=["NDCG@5"])
    (found,) = entry["comparisons"]
    assert (found["mean_difference"], found["ci95"], found["p"]) == (0, [0, 0], 1)
    assert found["verdict"] == "no difference shown"


def test_a_twin_that_was_not_run() -> None:
    ranks = {"full": {"idp": RANKS["idp"], "popularity": RANKS["popularity"]}}
    found = compare_twins(ranks, domain="tea", metrics=["NDCG@5"])
    assert found == [{"domain": "tea", "system": "idp", "twin": "sasrec", "comparisons": []}]
    assert missing_twins({"twins": found}) == [
        "On tea, SASRec, from scratch was not run beside IDP, fine-tuned: "
        "whether transfer helped it is not shown."
    ]
    assert twin_groups({"twins": found}) == []


def test_words_for_the_page() -> None:
    ranks = {"sampled-99": RANKS, "full": RANKS}
    report = {"twins": compare_twins(ranks, domain="tea", metrics=["NDCG@5"])}
    groups = twin_groups(report)
    assert [group["where"] for group in groups] == [
        "99 sampled negatives on tea", "Full ranking on tea",
    ]  # fmt: skip
    loss = groups[0]["rows"][1]
    assert (loss["system"], loss["twin"]) == ("IDP, zero-shot", "SASRec, from scratch")
    mean = sum(ndcg(RANKS["sasrec"][0].tolist(), 5)) / 8  # of zero-shot it is 0
    assert (loss["difference"], loss["verdict"], loss["kind"]) == (f"{-mean:+.4f}", "loss", "loss")
    assert missing_twins(report) == []


@pytest.mark.parametrize(
    ("systems", "warnings"),
    [
        ("idp, sasrec", []),
        ("sasrec, popularity", []),
        ("idp, popularity, idp-wo-bcl", ["add sasrec for idp, idp-wo-bcl"]),
    ],
)
def test_a_run_without_a_twin_is_warned(
    systems: str, warnings: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The domains are not there, which is found right after."""
    settings = load_settings("quick", overrides=[f"systems=[{systems}]"])
    config = RunConfig(data=tmp_path, sources=("a",), target="t", settings=settings)
    with caplog.at_level(logging.WARNING), pytest.raises(Exception, match="no domain"):
        check_run(Run(tmp_path / "w", config))
    assert [record.getMessage().partition("twin: ")[2] for record in caplog.records] == warnings
