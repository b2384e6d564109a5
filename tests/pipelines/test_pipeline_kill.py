"""A pipeline that is killed again and again, and ends as if nobody had touched it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pipelines.record import ExecutionState, Record
from tests.pipelines.tiny_pipeline import ONE_THREAD, add_a_day, fingerprints, write_config
from tests.tiny_bert import write_tiny_bert
from tests.tiny_world import write_world

KILLS = 10
MOMENTS = random.Random(7)


def start(config: Path, root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipelines.run", "--config", str(config), "--root", str(root)]
    return subprocess.Popen(
        command,
        env=os.environ | ONE_THREAD,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_at_random(config: Path, root: Path, seconds: float) -> int:
    """Runs again and again until a run comes to its end; how many were killed before."""
    killed = 0
    while True:
        process = start(config, root)
        try:
            # Most have come by then to where TensorFlow is at work. Later ones are given more:
            # the longest node must come to its end, and starts anew each time.
            moment = MOMENTS.uniform(0.05, 0.3) * seconds * 1.1**killed
            assert process.wait(moment) in (0, 3)
            return killed
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    """On the first day, and on the next, when a model goes on from the last one."""
    write_world(tmp_path / "data")
    config = write_config(tmp_path, write_tiny_bert(tmp_path / "bert"))
    undisturbed, root, killed = tmp_path / "undisturbed", tmp_path / "killed", 0
    for day in range(2):
        if day:
            add_a_day(tmp_path / "data")
        began = time.monotonic()
        assert start(config, undisturbed).wait() in (0, 3)
        killed += kill_at_random(config, root, time.monotonic() - began)
        assert fingerprints(root) == fingerprints(undisturbed)
        with Record(root, read_only=True) as record:
            assert not record.running()
    assert killed >= KILLS
    assert finished(root) == finished(undisturbed)
    assert not list(root.rglob(".partial-*"))
    assert not [path for path in (root / ".work").rglob("*") if path.is_file()]


def finished(root: Path) -> Counter[str]:
    """How often each node has come to its end."""
    with Record(root, read_only=True) as record:
        return Counter(
            execution.node_id
            for run in record.runs()
            for execution in record.executions(run.id)
            if execution.state is ExecutionState.COMPLETE
        )
