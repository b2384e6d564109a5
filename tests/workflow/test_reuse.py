"""What is finished is kept: second runs, other targets, more seeds, and rebuilds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_world import NUM_ITEMS, OTHER_TARGET, SOURCES, TARGET, command, comparable, invoke

from idp_tf.models import training
from idp_tf.text import matcher as matcher_module

FEW = "systems=[popularity, sasrec, idp]"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished workdir that a test may change."""
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of whatever is trained or tuned from now on."""
    names: list[str] = []
    begin = training._Keeper.on_train_begin
    compute = matcher_module.MatcherModel.compute_loss

    def note(keeper: training._Keeper, *args: Any, **options: Any) -> None:
        names.append(keeper.name)
        begin(keeper, *args, **options)

    def tune(self: Any, *args: Any, **options: Any) -> Any:
        names.append("matcher")
        return compute(self, *args, **options)

    monkeypatch.setattr(training._Keeper, "on_train_begin", note)
    monkeypatch.setattr(matcher_module.MatcherModel, "compute_loss", tune)
    return names


def report_of(workdir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workdir / "report.json").read_text(encoding="utf-8"))
    return found


def made(workdir: Path) -> set[str]:
    return {stage["name"] for stage in report_of(workdir)["stages"] if not stage["reused"]}


def run(*arguments: object) -> None:
    done = invoke(*arguments)
    assert done.code == 0, done.err


def test_a_second_run_makes_nothing(
    copied: Path, world: Path, tiny_bert: Path, trained: list[str]
) -> None:
    before = comparable(copied)
    watched = [
        file
        for folder in ("data", "pretrain", "matcher", "target", "export")
        for file in (copied / folder).rglob("*")
        if file.is_file() and file.name not in ("target_report.json", "models.config")
    ]
    stamps = {file: file.stat().st_mtime_ns for file in watched}
    run(*command(world, copied, tiny_bert))
    assert trained == []
    assert {file: file.stat().st_mtime_ns for file in watched} == stamps
    assert comparable(copied) == before
    assert made(copied) == set()
    assert set(report_of(copied)["test_openings"][TARGET].values()) == {1}


def test_another_target_and_more_seeds(
    copied: Path,
    world: Path,
    tiny_bert: Path,
    trained: list[str],
    finished: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Pre-training and matcher serve another target; a second seed leaves the first alone."""
    run(*command(world, copied, tiny_bert, FEW, target=OTHER_TARGET))
    assert trained == ["sasrec, seed 0", "idp, seed 0"]
    report = report_of(copied)
    assert [row["domain"] for row in report["results"][:6]] == [OTHER_TARGET] * 6
    kept = [row for row in report["results"] if row["domain"] == TARGET]
    assert kept == report_of(finished)["results"]
    assert set(report["domains"]) == {*SOURCES, TARGET, OTHER_TARGET}
    assert set(report["test_openings"]) == {TARGET, OTHER_TARGET}
    versions = {p.name: sorted(v.name for v in p.iterdir()) for p in (copied / "export").glob("*/")}
    assert versions == {
        "recommender": ["1", "2"],
        "recommender_scann": ["1", "2"],
        "cold_start": ["1", "2"],
        "cold_start_scann": ["1", "2"],
        "matcher": ["1"],
        "matcher_scann": ["1"],
    }
    for name in ("recommender", "recommender_scann"):
        for version, domain in (("1", TARGET), ("2", OTHER_TARGET)):
            told = json.loads(
                (copied / "export" / name / version / "assets.extra/signature.json").read_text()
            )
            assert (told["domain"], told["system"], told["seed"]) == (domain, "idp", 0)
            assert told["num_items"] == NUM_ITEMS
        assert f"{name}: the latest version, from which servers answer" in caplog.text
    assert f"becomes one of {OTHER_TARGET}; version 1 is of {TARGET}" in caplog.text
    assert "matcher: the latest version" not in caplog.text
    configs = {target: config["settings"] for target, config in report["configs"].items()}
    assert set(configs) == {TARGET, OTHER_TARGET}
    assert report["config"] == report["configs"][OTHER_TARGET]
    assert configs[OTHER_TARGET]["systems"] == ["popularity", "sasrec", "idp"]
    assert configs[TARGET] == report_of(finished)["config"]["settings"]
    (note,) = (note for note in report["notes"] if "differ between targets" in note)
    assert f'systems (["popularity", "sasrec", "idp"] for {OTHER_TARGET}, ' in note
    assert "fine_tune" not in note

    trained.clear()
    forget_config(copied / "target" / TARGET / "target_report.json")
    run(*command(world, copied, tiny_bert, FEW, "fine_tune_seeds=2", target=OTHER_TARGET))
    assert trained == ["sasrec, seed 1", "idp, seed 1"]
    later = report_of(copied)
    assert [row for row in later["results"] if row["domain"] == TARGET] == kept
    assert set(later["configs"]) == {OTHER_TARGET}
    assert not any("differ between targets" in note for note in later["notes"])
    rows = [row for row in later["results"] if row["domain"] == OTHER_TARGET]
    first = [row for row in rows if row["seed"] == 0]
    assert first == [row for row in report["results"] if row["domain"] == OTHER_TARGET]
    assert {(row["system"], row["seed"]) for row in rows} == {
        ("popularity", 0), ("sasrec", 0), ("sasrec", 1), ("idp", 0), ("idp", 1),
    }  # fmt: skip
    # Once for each seed.
    assert later["test_openings"][OTHER_TARGET] == {"popularity": 1, "sasrec": 2, "idp": 2}
    pair = next(
        row
        for row in later["significance"]
        if {row["better"], row["than"]} == {"idp", "sasrec"}
        and (row["domain"], row["protocol"], row["metric"]) == (OTHER_TARGET, "full", "NDCG@10")
    )
    assert pair["seeds"] == {"idp": 2, "sasrec": 2}
    values = {system: mean_ndcg(copied, system) for system in ("idp", "sasrec")}
    difference = values[pair["better"]] - values[pair["than"]]
    assert pair["mean_difference"] == pytest.approx(difference.mean(), abs=1e-12)


def forget_config(file: Path) -> None:
    """As an earlier version stored what a target has shown."""
    stored = json.loads(file.read_text(encoding="utf-8"))
    del stored["config"]
    file.write_text(json.dumps(stored), encoding="utf-8")


def mean_ndcg(workdir: Path, system: str) -> np.ndarray:
    """NDCG@10 of the full ranking, of each user over both seeds."""
    folder = workdir / "target" / OTHER_TARGET / "evaluation" / system
    ranks = np.stack([np.load(folder / f"seed-{seed}" / "ranks.npz")["full"] for seed in (0, 1)])
    return np.where(ranks <= 10, 1 / np.log2(ranks + 1.0), 0).mean(axis=0)


def test_rebuild_makes_just_what_hangs_on_the_setting(
    copied: Path, world: Path, tiny_bert: Path, trained: list[str]
) -> None:
    changes = (FEW, "transfer.top_m=2", "transfer.retrieval=scann")
    run(*command(world, copied, tiny_bert, *changes), "--rebuild")
    assert trained == ["idp, seed 0"]
    assert made(copied) == {"generated embeddings", "idp, seed 0", "evaluation of idp, seed 0"}
    report = report_of(copied)
    # The rebuilt system has met the test items twice, and the report says so.
    assert report["test_openings"][TARGET]["idp"] == 2
    assert report["test_openings"][TARGET]["sasrec"] == 1
    assert report["config"]["settings"]["transfer"]["top_m"] == 2
    # Now these are the workdir's settings.
    trained.clear()
    run(*command(world, copied, tiny_bert, *changes))
    assert trained == [] and made(copied) == set()


def test_a_rebuilt_matcher_leaves_other_targets_out_of_the_report(
    copied: Path, world: Path, tiny_bert: Path, trained: list[str]
) -> None:
    """Their rows would come from a matcher that is gone."""
    changes = ("systems=[sasrec]", "matcher.steps=0")
    run(*command(world, copied, tiny_bert, *changes, target=OTHER_TARGET), "--rebuild")
    assert trained == ["sasrec, seed 0"]
    report = report_of(copied)
    assert {row["domain"] for row in report["results"]} == {OTHER_TARGET}
    assert any(f"The target {TARGET} is left out" in note for note in report["notes"])
    assert not list(copied.rglob("*.old"))


def test_the_rate_that_validates_best_is_kept(
    copied: Path, world: Path, tiny_bert: Path, trained: list[str]
) -> None:
    grid = "fine_tune.learning_rate_grid=[1.0e-6, 0.02]"
    run(*command(world, copied, tiny_bert, "systems=[sasrec]", grid), "--rebuild")
    assert sorted(name.rpartition("-")[2] for name in trained) == ["0.02", "06"]
    folder = copied / "target" / TARGET / "systems/sasrec/seed-0"
    summary = json.loads((folder / "done.json").read_text())
    best = {}
    for rate in ("1e-06", "0.02"):
        text = checkpointed_state(folder / "checkpoints" / f"learning-rate-{rate}")
        best[float(rate)] = max(text["history"]["val_ndcg@10"])
    assert best[1e-6] != best[0.02]
    assert summary["learning_rate"] == max(best, key=lambda rate: best[rate])
    assert summary["best_value"] == max(best.values())
    rows = {trial["learning_rate"]: trial for trial in summary["trials"]}
    assert {rate: row["value"] for rate, row in rows.items()} == best
    assert all((row["epochs"], row["seconds"] > 0) == (2, True) for row in rows.values())
    (study,) = report_of(copied)["tuning"][TARGET]
    assert study == {
        "system": "sasrec", "seed": 0, "chosen": summary["learning_rate"],
        "trials": summary["trials"],
    }  # fmt: skip
    # One configuration met the test items, whatever the grid.
    lines = (copied / f"target/{TARGET}/test_openings.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["system"] == "sasrec" for line in lines) == 2


def test_tuning_is_added_to_an_old_run(copied: Path, trained: list[str]) -> None:
    file = copied / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["settings"]["systems"] = ["sasrec"]
    config["settings"]["fine_tune"]["epochs"] = 1
    file.write_text(yaml.safe_dump(config))
    before = file.read_text()
    refused = invoke("fine-tune", "--workdir", copied, "--tune")
    assert refused.code == 2 and "learning_rate_grid is [0.001, 0.0003," in refused.err
    assert file.read_text() == before and trained == []
    run("fine-tune", "--workdir", copied, "--tune", "--rebuild")
    assert len(trained) == 4
    config["settings"]["fine_tune"]["learning_rate_grid"] = [1e-3, 3e-4, 1e-4, 3e-5]
    assert yaml.safe_load(file.read_text()) == config
    # Now this is the workdir's setting.
    run("fine-tune", "--workdir", copied)
    assert len(trained) == 4


def checkpointed_state(folder: Path) -> dict[str, Any]:
    import tensorflow as tf

    path = tf.train.latest_checkpoint(str(folder))
    reader = tf.train.load_checkpoint(path)
    found: dict[str, Any] = json.loads(reader.get_tensor("state/.ATTRIBUTES/VARIABLE_VALUE"))
    return found


def test_too_few_items_for_scann_leave_its_form_out(
    copied: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """40 target items are too few here, 80 source items are enough."""
    monkeypatch.setattr("idp_tf.workflow.export_versions.MIN_VECTORS", 60)
    shutil.rmtree(copied / "export")
    done = invoke("export", "--workdir", copied)
    assert done.code == 0, done.err
    assert "recommender_scann is not exported" in caplog.text
    assert {path.name for path in (copied / "export").glob("*/")} == {
        "cold_start",
        "cold_start_scann",
        "recommender",
        "matcher",
        "matcher_scann",
    }
