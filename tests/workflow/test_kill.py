"""kill -9 at any point, then the same command: the report is that of an undisturbed run."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_world import command, comparable, invoke

from idp_tf.models import load_model
from idp_tf.workflow.artifacts import read_json

MODEL = "target/office/systems/sasrec/seed-0"
KILL_AT = Path(__file__).with_name("kill_at.py")

POINTS = (
    "rename:config.yaml$",
    "log:^data of music: begins",
    "rename:music/manifest.json$",
    "log:^pre-training: epoch 1 ",
    "rename:pretrain/checkpoints/best-2",
    "rename:pretrain/done.json$",
    "rename:matcher/neighbours.npy$",
    "rename:untuned/parts/.*/part-00000.npy$",
    "rename:tuning.npz$",
    "rename:/tuned/parts/.*/part-00000.npy$",
    "rename:/tuned/vectors.npy$",
    "rename:office/embeddings.npy$",
    "rename:office/matches.parquet$",
    "log:^sasrec, seed 0: epoch 1 ",
    "log:^idp, seed 0: epoch 1 ",
    "log:^evaluation of idp, seed 0: begins",
    "rename:evaluation/sasrec/seed-0/done.json$",
    "rename:export/recommender/1$",
    "log:^exported recommender_scann",
    "rename:versions.json$",
    "rename:models.config$",
    "rename:target_report.json$",
    "rename:w/report.json$",
    "rename:report.html$",
)


def run_until(point: str, arguments: list[str]) -> int:
    """The exit status of a run that is killed at a point; 0 if it came to its end."""
    done = subprocess.run(
        [sys.executable, str(KILL_AT), point, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-3000:]
    return done.returncode


def assert_same_outcome(workdir: Path, undisturbed: Path) -> None:
    assert comparable(workdir) == comparable(undisturbed)
    for pattern in ("target/*/embeddings.npy", "target/*/systems/*/*/model/*.h5"):
        names = sorted(str(file.relative_to(undisturbed)) for file in undisturbed.glob(pattern))
        assert names == sorted(str(file.relative_to(workdir)) for file in workdir.glob(pattern))
        assert names
    ours, theirs = (np.load(w / "target/office/embeddings.npy") for w in (workdir, undisturbed))
    np.testing.assert_array_equal(ours, theirs)
    assert not list((workdir / "export").glob("*/2")), "a finished export was written again"


@pytest.mark.timeout(280)
def test_killed_in_the_second_trial_of_a_search(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed, killed = (shutil.copytree(finished, tmp_path / name) for name in "ab")
    lines = search(undisturbed, caplog)
    (first, _), (second, _) = lines[0], lines[2]
    assert lines == [(first, "1"), (first, "2"), (second, "1"), (second, "2")]
    write_search(killed)
    arguments = ["fine-tune", "--workdir", str(killed), "--rebuild"]
    assert run_until(f"log:^{second}: epoch 1 ", arguments) == -signal.SIGKILL
    assert not (killed / MODEL / "done.json").exists()
    assert search(killed, caplog) == [(second, "2")]
    assert outcome(killed) == outcome(undisturbed)
    ours, theirs = (load_model(workdir / MODEL / "model") for workdir in (killed, undisturbed))
    np.testing.assert_array_equal(ours.item_vectors(), theirs.item_vectors())


def search(workdir: Path, caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Runs a search to its end; the trainings and epochs that it told of."""
    write_search(workdir)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="idp_tf"):
        done = invoke("fine-tune", "--workdir", workdir, "--rebuild")
    assert done.code == 0, done.err
    parts = [record.getMessage().partition(": epoch ") for record in caplog.records]
    return [(training, rest[0]) for training, epoch, rest in parts if epoch]


def write_search(workdir: Path) -> None:
    config = yaml.safe_load((workdir / "config.yaml").read_text())
    config["settings"]["systems"] = ["sasrec"]
    config["settings"]["fine_tune"]["learning_rate_grid"] = [0.02, 0.005]
    (workdir / "config.yaml").write_text(yaml.safe_dump(config))


def outcome(workdir: Path) -> dict[str, Any]:
    """What a training has come to, without the time it took."""
    found: dict[str, Any] = read_json(workdir / MODEL / "done.json")
    for part in (found, found["history"], *found["trials"]):
        del part["seconds"]
    return found


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_point(
    point: str, world: Path, tiny_bert: Path, finished: Path, tmp_path: Path
) -> None:
    workdir = tmp_path / "w"
    arguments = command(world, workdir, tiny_bert)
    assert run_until(point, arguments) == -signal.SIGKILL
    done = invoke(*arguments)
    assert done.code == 0, done.err
    assert_same_outcome(workdir, finished)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_again_and_again(
    world: Path, tiny_bert: Path, finished: Path, tmp_path: Path
) -> None:
    """Every life lasts for twelve renamings; work must go on from one to the next."""
    workdir = tmp_path / "w"
    arguments = command(world, workdir, tiny_bert)
    lives = 1
    while run_until("rename-number:12", arguments) != 0:
        lives += 1
        assert lives < 30, "it does not come nearer to its end"
    assert lives > 4
    assert_same_outcome(workdir, finished)
