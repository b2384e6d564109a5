"""A pipeline that is killed again and again, and ends as if nobody had touched it."""

from __future__ import annotations

import json
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
from tests.pipelines.tiny_pipeline import write_config
from tests.tiny_bert import write_tiny_bert
from tests.tiny_world import write_world

KILLS = 10
ALIKE = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
"""With one thread TensorFlow adds up in one order, and trains to the same bits."""


def start(config: Path, root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipelines.run", "--config", str(config), "--root", str(root)]
    return subprocess.Popen(
        command,
        env=os.environ | ALIKE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def pushed_weights(root: Path) -> str:
    """The fingerprint of settings, signatures and weights that an export carries."""
    (version,) = (root / "serving" / "recommender").glob("[0-9]*")
    return str(json.loads((version / "assets.extra" / "signature.json").read_text())["fingerprint"])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    write_world(tmp_path / "data")
    config = write_config(tmp_path, write_tiny_bert(tmp_path / "bert"))
    began = time.monotonic()
    undisturbed = start(config, tmp_path / "undisturbed")
    assert undisturbed.wait() == 0
    took = time.monotonic() - began
    root, moments = tmp_path / "killed", random.Random(7)
    for _ in range(KILLS):
        process = start(config, root)
        try:
            # Late enough for most to come to where TensorFlow is at work.
            process.wait(moments.uniform(0.05, 0.5) * took)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert start(config, root).wait() == 0
    assert pushed_weights(root) == pushed_weights(tmp_path / "undisturbed")
    with Record(root, read_only=True) as record:
        assert not record.running()
        finished = Counter(
            execution.node_id
            for run in record.runs()
            for execution in record.executions(run.id)
            if execution.state is ExecutionState.COMPLETE
        )
    assert len(finished) == 24 and set(finished.values()) == {1}
    assert not list(root.rglob(".partial-*"))
    assert not [path for path in (root / ".work").rglob("*") if path.is_file()]
