"""Benchmarks run, judge what they measure, and write what the docs promise; none is timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_world import invoke

from benchmarks import BENCHES, BenchResult, Goal, base
from benchmarks.base import CURVED

LONG = ("end-to-end", "serve", "train", "matcher-fit", "encode", "match")
"""Each takes some seconds or more, of what other tests run too."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in BENCHES],
)
def test_smoke(name: str, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    picture = tmp_path / "curve.svg"
    drawn = ("--plot", picture) if name in CURVED else ()
    done = invoke("bench", name, "--smoke", "--json", file, *drawn)
    assert done.code == 0, done.err
    assert picture.exists() == bool(drawn)
    assert f"idp-tf bench {name}" in done.out
    assert "its times say nothing" in done.out
    found = json.loads(file.read_text())
    assert found["bench"] == name
    assert found["targets"] == []
    assert found["machine"]["cores"] >= 1
    assert found["versions"]["tensorflow"].startswith("2.")
    assert found["rows"]


def test_a_benchmark_without_a_curve_is_refused_before_it_measures(tmp_path: Path) -> None:
    done = invoke("bench", "encode", "--plot", tmp_path / "curve.svg")
    assert done.code == 2
    assert "encode has no curve to draw" in done.err
    assert CURVED[0] in done.err


def test_an_unknown_name() -> None:
    done = invoke("bench", "speed")
    assert done.code == 2
    assert "'speed'" in done.err
    assert BENCHES[0] in done.err


def test_goals_are_printed_and_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    goals = [Goal("ratio", "at least 2", 2.5, True), Goal("share", "at most 1", 1.5, False)]
    from benchmarks import train_growth as module

    monkeypatch.setattr(module, "bench", lambda smoke, data: BenchResult([{"a": 1.0}], goals))
    base.run_bench("train-growth", json_file=tmp_path / "x.json")
    said = capsys.readouterr().out
    assert "ratio: 2.5, goal at least 2: met" in said
    assert "share: 1.5, goal at most 1: missed" in said
    assert json.loads((tmp_path / "x.json").read_text())["targets"] == [
        {"name": "ratio", "goal": "at least 2", "value": 2.5, "met": True},
        {"name": "share", "goal": "at most 1", "value": 1.5, "met": False},
    ]


def test_a_failing_measurement_says_why() -> None:
    with pytest.raises(base.IdpError, match="no_such_module"):
        base.run_worker("benchmarks.no_such_module", {}, threads=1)
