"""Beam's own runner with two worker processes: the same results, and counters come back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from component_run import statistics
from flink_job import filter_once

from pipelines import beam_options

ARGS = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
ROOT = Path(beam_options.__file__).parents[1]


@pytest.fixture(autouse=True)
def python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are started by Beam, and find modules as any Python does."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (Path(__file__).parent, ROOT))))


def test_counters_come_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logs = []
    for k in range(4):
        logs.append(tmp_path / f"{k}.csv")
        logs[-1].write_text(f"u1,tea,{k}\nu2,cup,{k}\nrare {k},pot,{k}\n")
    (tmp_path / "out").mkdir()
    counted = filter_once(logs, tmp_path / "out", ARGS)
    assert counted == {"rows read": 12, "rows dropped": 4}
    assert not [line for line in caplog.messages if line.startswith("Worker: ")]
    kept = sorted("".join(f.read_text() for f in (tmp_path / "out").iterdir()).split())
    assert kept == sorted(
        f"{u},{i},{k}" for u, i in (("u1", "tea"), ("u2", "cup")) for k in range(4)
    )


@pytest.mark.slow
def test_statistics_are_those_of_one_process(tmp_path: Path) -> None:
    assert statistics(tmp_path / "two", ARGS) == statistics(tmp_path / "one")
