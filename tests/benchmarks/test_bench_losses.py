"""Hours of measuring are not lost with the process, and say how far they are."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import losses
from benchmarks.base import run_process
from idp_tf.errors import IdpError

REACHED = {"bce": 0.126, "gbce": 0.173, "cross-entropy": 0.170}
ROWS = ["RecTools", "cross-entropy", "bce", "gbce"]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was measured, by trainers that take no time; ``gbce`` is cut off the first time."""
    done: list[str] = []

    def worker(module: str, arguments: Mapping[str, Any], **rest: Any) -> dict[str, Any]:
        done.append(arguments["loss"])
        if done.count("gbce") == 1 and arguments["loss"] == "gbce":
            raise KeyboardInterrupt
        return {"test ndcg@10": REACHED[arguments["loss"]]}

    def peer(script: str, arguments: Mapping[str, Any], **rest: Any) -> dict[str, Any]:
        done.append("RecTools")
        return {"test ndcg@10": 0.2}

    monkeypatch.setattr(losses, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(losses, "require_data", lambda data, smoke: None)
    monkeypatch.setattr(losses, "require_peers", lambda *packages: None)
    monkeypatch.setattr(losses, "write_domains", lambda data, names, folder: None)
    monkeypatch.setattr(losses, "run_worker", worker)
    monkeypatch.setattr(losses, "run_peer", peer)
    return done


def test_a_run_that_was_cut_off_goes_on_with_the_row_that_it_was_at(
    measured: list[str], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        losses.bench(smoke=False, data=tmp_path)
    assert measured == ROWS
    measured.append("and again")
    result = losses.bench(smoke=False, data=tmp_path)
    assert measured == [*ROWS, "and again", "gbce"]
    assert [row["trainer"] for row in result.rows] == ["RecTools", "ours", "ours", "ours"]
    values = [goal.value for goal in result.goals]
    assert values == pytest.approx([0.170 / 0.2, 0.173 - 0.126, 0.170 / 0.173])
    assert [goal.met for goal in result.goals] == [False, True, True]


def test_a_run_after_a_whole_one_measures_all_anew(measured: list[str], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        losses.bench(smoke=False, data=tmp_path)
    losses.bench(smoke=False, data=tmp_path)
    measured[:] = ["gbce"]
    losses.bench(smoke=False, data=tmp_path)
    assert measured[1:] == ROWS


def test_a_row_of_other_settings_is_not_taken(
    measured: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        losses.bench(smoke=False, data=tmp_path)
    monkeypatch.setitem(losses._SHAPE, "max_length", 40)
    losses.bench(smoke=False, data=tmp_path)
    assert measured == [*ROWS, *ROWS]


def test_a_row_of_other_data_is_not_taken(
    measured: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        losses.bench(smoke=False, data=tmp_path)

    def write_others(data: Path, names: object, folder: Path) -> None:
        (folder / "sequences.npy").write_bytes(b"others")

    monkeypatch.setattr(losses, "write_domains", write_others)
    losses.bench(smoke=False, data=tmp_path)
    assert measured == [*ROWS, *ROWS]


SAYS = """
import sys
print("noise of a library", file=sys.stderr)
print("  epoch 5: 0.1", file=sys.stderr)
print("not the answer")
print(sys.argv[1])
sys.exit(len(sys.argv[1]) > 9)
"""


def test_a_worker_says_how_far_it_is_and_libraries_are_not_heard(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_process([sys.executable, "-c", SAYS], {"a": 1}, threads=1) == {"a": 1}
    assert capsys.readouterr().err == "  epoch 5: 0.1\n"


def test_a_worker_that_fails_is_heard_out() -> None:
    with pytest.raises(IdpError, match=r"exit code 1: noise of a library"):
        run_process([sys.executable, "-c", SAYS], {"a": 1000000}, threads=1)
