"""Signals that end a run whatever the main thread is at, and in order."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.record import ExecutionState, Record

COMMAND = """
import os, signal, sys, time, weakref
from pathlib import Path
from pipelines import run as run_module
from tests.pipelines.small_pipeline import Add, build

folder, number, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
send = lambda *_: os.kill(os.getpid(), number)

class Thing: pass

def execute(self, execution):
    (execution.outputs["sum"].uri / "half").touch()
    (execution.work / "begun").touch()
    if how == "callback":
        thing = Thing()
        kept = weakref.ref(thing, send)
        del thing
    elif how == "library":
        try:
            send()
            time.sleep(60)
        except BaseException:
            pass
    elif how == "wrapped":
        try:
            send()
            time.sleep(60)
        except BaseException as error:
            raise RuntimeError(f"{error} [while running 'Task']")
    else:
        send()
    time.sleep(60)

Add.execute = execute
run_module.compose = lambda settings: build(folder)
sys.exit(run_module.main(["--config", str(folder / "pipeline.yaml")]))
"""


@pytest.mark.parametrize(
    ("number", "how", "status"),
    [(2, "plain", 130), (2, "callback", 130), (2, "library", 130), (15, "wrapped", 143)],
)
def test_a_signal_ends_a_run_and_the_record_says_so(
    tmp_path: Path, number: int, how: str, status: int
) -> None:
    """Also one that the collector drops, that a library catches, or that Beam renames."""
    root = tmp_path / "root"
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("1")
    config = {"data": str(tmp_path), "root": str(root), "sources": ["a"], "target": "b"}
    (tmp_path / "pipeline.yaml").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(tmp_path), str(number), how],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert done.stderr.endswith("Interrupted in Add. The same command goes on.\n")
    assert "Traceback" not in done.stderr
    with Record(root, read_only=True) as record:
        (run,) = record.runs()
        *_, added = record.executions(run.id)
    assert (run.properties["state"], run.properties["error"]) == ("FAILED", "interrupted")
    assert (added.state, added.properties["error"]) == (ExecutionState.FAILED, "interrupted")
    assert not list(root.rglob("half")) and list((root / ".work").rglob("begun"))
