"""An experiment is a main job a target, and its JSON holds the rows of its systems."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_world import OTHER_TARGET, SOURCES, TARGET, invoke, overrides

from idp_tf.errors import SettingsError
from idp_tf.experiments.base import EXPERIMENTS, load_experiment
from idp_tf.systems import SYSTEMS


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_names_itself_its_question_and_known_systems(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.name == name
    assert experiment.question.endswith("?")
    assert set(experiment.systems) <= set(SYSTEMS)
    # Every run holds the control from scratch, and no target is a source.
    assert "sasrec" in experiment.systems
    assert not set(experiment.targets) & set(experiment.sources)


def test_an_unknown_experiment() -> None:
    with pytest.raises(SettingsError, match="unknown experiment 'table99'") as caught:
        load_experiment("table99")
    assert all(name in str(caught.value) for name in EXPERIMENTS)


def test_table8_over_a_finished_workdir(
    finished: Path, world: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    workdir = shutil.copytree(finished, tmp_path / "copy")
    pairs = [word for pair in overrides(tiny_bert) for word in ("--set", pair)]
    done = invoke(
        *("experiment", "table8", "--data", world, "--workdir", workdir, "--preset", "quick"),
        *("--seeds", 1, "--sources", ",".join(SOURCES), "--target", TARGET, *pairs),
    )
    assert done.code == 0, done.err
    assert f"domain {TARGET}" in done.out and OTHER_TARGET not in done.out
    outcome = json.loads((workdir / "experiments" / "table8.json").read_text())
    assert outcome["experiment"]["name"] == "table8"
    assert outcome["settings"]["fine_tune_seeds"] == 1
    systems = ("sasrec", "idp", "idp-wo-encoder")
    expected = json.loads((finished / "report.json").read_text())["results"]
    assert outcome["results"] == [row for row in expected if row["system"] in systems]
    pairs_compared = {frozenset((row["better"], row["than"])) for row in outcome["significance"]}
    assert frozenset(("idp", "sasrec")) in pairs_compared
