"""The curve that ``--plot`` draws."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_world import invoke

from benchmarks import BenchResult, base
from benchmarks.base import Curve

ROWS = [
    {"index": "ours", "items": 10, "seconds": 0.5},
    {"index": "ours", "items": 1_000, "seconds": 0.7},
    {"index": "theirs", "items": 1_000, "seconds": 9.0},
    {"index": "ours"},
]


def test_rows_of_the_curve_alone_are_drawn() -> None:
    curve = Curve("items", ("seconds",), {"index": "ours"})
    assert [curve.has(row) for row in ROWS] == [True, True, False, False]


def test_the_picture_names_what_it_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from benchmarks import train_growth as module

    result = BenchResult(ROWS, curve=Curve("items", ("seconds",), {"index": "ours"}))
    monkeypatch.setattr(module, "bench", lambda smoke, data: result)
    pictures = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for picture in pictures:
        base.run_bench("train-growth", plot_file=picture)
    text = pictures[0].read_text()
    assert all(
        f">{word}</text>" in text for word in ("items", "seconds", "idp-tf bench train-growth")
    )
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_what_cannot_be_drawn_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    done = invoke("bench", "train-growth", "--smoke", "--plot", tmp_path / "curve.txt")
    assert done.code == 2
    assert ".svg" in done.err
    assert done.out == ""
    done = invoke("bench", "train-growth", "--smoke", "--json", tmp_path / "nowhere" / "a.json")
    assert done.code == 2
    assert "nowhere" in done.err
    assert done.out == ""
