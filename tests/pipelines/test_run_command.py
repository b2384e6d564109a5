"""What the command refuses before it begins, and what it prints."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from idp_tf.errors import DataError
from pipelines import run as run_module
from pipelines.artifacts import Artifact
from pipelines.launcher import NodeResult
from pipelines.run import RunResult, main
from pipelines.run_log import BEGINS
from pipelines.settings import PipelineSettings
from pipelines.terminal import Terminal, print_end
from tests.pipelines.small_pipeline import build
from tests.pipelines.tiny_pipeline import write_config
from tests.tiny_world import TARGET, write_world


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("1")
    write_world(tmp_path / "data")
    return tmp_path


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--rot=X"], "no option --rot\n  -> did you mean --root?"),
        (["--wiat"], "no option --wiat\n  -> did you mean --wait?"),
        (["nightly"], "'nightly' belongs to no option"),
        (["--runner=NoSuchRunner"], "there is no runner 'NoSuchRunner'"),
    ],
)
def test_misspelt_options_are_refused_before_anything_is_made(
    folder: Path, capsys: pytest.CaptureFixture[str], args: list[str], said: str
) -> None:
    config = write_config(folder, folder)
    assert main(["--config", str(config), *args]) == 2
    told = capsys.readouterr().err
    assert said in told and "Discarding" not in told
    assert not (folder / "root").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "ofice"}, "ofice"),
        ({"data": "/no/such/folder"}, "/no/such/folder: there is no such folder"),
        (
            {"inputs": {TARGET: {"form": "RecBole", "interactions": ["x/*"], "items": ["y"]}}},
            "x/*: no file of interactions matches",
        ),
        ({"curated_schemas": {TARGET: "/no/such.pbtxt"}}, "there is no curated schema"),
    ],
)
def test_files_that_are_not_there_are_told_before_anything_is_made(
    folder: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: str
) -> None:
    assert main(["--config", str(write_config(folder, folder, **changes))]) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "root").exists()


def test_an_error_is_told_once_and_its_traceback_is_in_the_log(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = DataError("no good", remedy="set prepare.ties=id")
    monkeypatch.setattr(run_module, "compose", lambda settings: build(folder, error=error))
    assert main(["--config", str(write_config(folder, folder))]) == 2
    told = capsys.readouterr()
    assert (told.out + told.err).count("no good") == 1
    assert told.err.endswith("Error: no good\n  -> set settings.prepare.ties=id\n")
    assert "Traceback" not in told.err
    lines = (folder / "root" / "logs" / "run-1.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert (last["level"], last["node"]) == ("ERROR", "Add")
    assert "DataError: no good" in last["traceback"]


def record(message: str, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("pipelines.x", level, "", 0, message, None, None)
    made.__dict__.update(extra)
    return made


def node(name: str, reason: str) -> NodeResult:
    return NodeResult(name, "ran", reason, 1.0, {})


def test_a_node_has_a_line_when_it_begins_only_if_it_has_more_to_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal = Terminal()
    terminal.handle(record("Short: begins; new", **{BEGINS: True}))
    terminal.done(node("Short", "new"))
    terminal.handle(record("Long: begins; old", **{BEGINS: True}))
    terminal.handle(record("5 out of 6 calls triggered tf.function retracing"))
    terminal.handle(record("epoch 1"))
    terminal.handle(record("epoch 2"))
    terminal.done(node("Long", "old"))
    told = capsys.readouterr()
    assert [line[10:] for line in told.err.splitlines()] == [
        "Long: begins; old",
        "epoch 1",
        "epoch 2",
    ]
    assert [line.split("s", 1)[1] for line in told.out.splitlines()] == ["  (new)", ""]


def test_why_a_model_is_not_pushed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = PipelineSettings(data=tmp_path, root=tmp_path, sources=("a",), target="b")
    pushed = Artifact("PushedModel", tmp_path, "f", {"pushed": 0})
    result = RunResult(7, (NodeResult("Pusher", "ran", "", 1, {"pushed_model": pushed}),), 3)

    def told(**content: object) -> list[str]:
        (tmp_path / "pushed.json").write_text(json.dumps(content))
        print_end(settings, result)
        out = capsys.readouterr().out
        return out[out.index("Why:\n") :].splitlines()[1:-1]

    assert told(why=["one", "two"]) == ["  - one", "  - two"]
    many = told(why=["1", "2", "3", "4", "5"])
    assert many[:3] == ["  - 1", "  - 2", "  - 3"] and "2 more" in many[3] and len(many) == 4
    refused = "This model is version 12, which was rolled back at noon; roll back to 12 to have it"
    assert told(why=[refused], rolled_back=True)[1].endswith(f"rollback --root {tmp_path} --to 12")
