"""The search for learning rates: every rate once, whatever kills the run, and the best is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from idp_tf.errors import WorkdirError
from idp_tf.models.training import TrainingState
from idp_tf.workflow.run import Run, RunConfig, Settings
from idp_tf.workflow.tuning import STUDY_FILE, RateStudy, search

GRID = (1e-3, 3e-4, 1e-4, 3e-5)
VALUES = {1e-3: 0.21, 3e-4: 0.34, 1e-4: 0.34, 3e-5: 0.05}


class Trainings:
    """Stands in for training; notes the rates, and stops the run in the one asked for."""

    def __init__(self, stop_in: int = 0) -> None:
        self.rates: list[float] = []
        self.stop_in = stop_in

    def __call__(self, rate: float) -> TrainingState:
        self.rates.append(rate)
        if len(self.rates) == self.stop_in:
            raise KeyboardInterrupt
        return TrainingState(
            epoch=5, best_epoch=3, best_value=VALUES[rate], history={"seconds": [0.5, 0.75]}
        )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = RunConfig(data=tmp_path, sources=("a",), target="t", settings=Settings())
    return Run(tmp_path, config)


def test_every_rate_is_tried_once_and_the_best_kept(run: Run, tmp_path: Path) -> None:
    trainings = Trainings()
    best, rows = search(run, tmp_path, GRID, trainings)
    assert sorted(trainings.rates) == sorted(GRID)
    assert best == 3e-4, "of equal ones the larger"
    assert [row["learning_rate"] for row in rows] == [3e-4, 1e-4, 1e-3, 3e-5]
    assert rows[2] == {
        "learning_rate": 1e-3, "value": 0.21, "best_epoch": 3, "epochs": 5, "seconds": 1.25,
    }  # fmt: skip


@pytest.mark.parametrize("grid", [(0.01,), (0.01, 0.01)])
def test_a_grid_of_one(grid: tuple[float, ...], run: Run, tmp_path: Path) -> None:
    trained: list[float] = []

    def attempt(rate: float) -> TrainingState:
        trained.append(rate)
        return TrainingState(1, 1, 0.5)

    assert search(run, tmp_path, grid, attempt)[0] == 0.01
    assert trained == [0.01]


@pytest.mark.parametrize("stop_in", [1, 2, 3, 4])
def test_a_run_goes_on_with_the_trial_it_was_in(stop_in: int, run: Run, tmp_path: Path) -> None:
    first = Trainings(stop_in)
    with pytest.raises(KeyboardInterrupt):
        search(run, tmp_path, GRID, first)
    again = Trainings(1)
    with pytest.raises(KeyboardInterrupt):
        search(run, tmp_path, GRID, again)
    last = Trainings()
    outcome = search(run, tmp_path, GRID, last)
    assert again.rates == [first.rates[-1]] == last.rates[:1]
    assert sorted(first.rates[:-1] + last.rates) == sorted(GRID)
    (tmp_path / "whole").mkdir()
    assert outcome == search(run, tmp_path / "whole", GRID, Trainings())
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / STUDY_FILE}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4


def test_a_finished_search_trains_nothing(run: Run, tmp_path: Path) -> None:
    before, after = Trainings(), Trainings()
    assert search(run, tmp_path, GRID, before) == search(run, tmp_path, GRID, after)
    assert after.rates == []


def test_a_trial_that_was_cut_off_before_it_had_a_rate(run: Run, tmp_path: Path) -> None:
    RateStudy(tmp_path / STUDY_FILE, GRID).rows()
    optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / STUDY_FILE}").ask()
    trainings = Trainings()
    assert search(run, tmp_path, GRID, trainings)[0] == 3e-4
    assert sorted(trainings.rates) == sorted(GRID)


KILLED = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from idp_tf.workflow.tuning import RateStudy

file, said = Path(sys.argv[1]), Path(sys.argv[2])
study = RateStudy(file, [1e-3, 3e-4, 1e-4, 3e-5])
while rate := study.next_rate():
    with said.open("a") as out:
        out.write(f"{rate}\\n")
    if len(said.read_text().split()) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    study.note(SimpleNamespace(epoch=1, best_epoch=1, best_value=rate, history={}))
"""


def test_killed_in_the_second_trial(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / STUDY_FILE), str(tmp_path / "said")]
    codes = [subprocess.run(arguments, check=False).returncode for _ in range(2)]
    assert codes == [-signal.SIGKILL, 0]
    rates = list(map(float, (tmp_path / "said").read_text().split()))
    assert rates[1] == rates[2]
    assert set(rates) == set(GRID)
    assert len(rates) == 5
    rows = RateStudy(tmp_path / STUDY_FILE, GRID).rows()
    assert [(row["learning_rate"], row["value"]) for row in rows] == [(r, r) for r in GRID]


def test_a_worker_takes_the_rates_of_the_chief(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chiefs = iter([3e-4, 1e-3, 0.0, 1e-3])

    def agreed(_: Run, compute: Callable[[], float]) -> float:
        return next(chiefs)

    monkeypatch.setattr(Run, "is_chief", False)
    monkeypatch.setattr(Run, "agreed", agreed)
    trainings = Trainings()
    assert search(run, tmp_path, GRID, trainings) == (1e-3, [])
    assert trainings.rates == [3e-4, 1e-3]
    assert not list(tmp_path.iterdir()), "the chief alone owns the study"


def test_a_workdir_with_any_name(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "50% of {all} 'b?d #1&2;ü"
    folder.mkdir()
    search(run, folder, GRID, Trainings())
    assert [file.name for file in folder.iterdir()] == [STUDY_FILE]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_study_is_refused(damage: str, run: Run, tmp_path: Path) -> None:
    search(run, tmp_path, GRID, Trainings())
    file = tmp_path / STUDY_FILE
    if damage == "cut":
        os.truncate(file, file.stat().st_size // 2)
    else:
        file.write_text("no database " * 400)
    with pytest.raises(WorkdirError, match="cannot be read: .*\n.*delete that file") as error:
        search(run, tmp_path, GRID, Trainings())
    assert error.value.where == file
    file.unlink()  # as advised
    assert search(run, tmp_path, GRID, Trainings())[0] == 3e-4
