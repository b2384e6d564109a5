"""The tiny pipeline, all of it, on each runner: every artifact that is made is the same.

On Flink one of the two TaskManagers is killed while a job runs on both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from idp_tf.errors import ClusterError
from pipelines.flink import FlinkCluster
from tests.pipelines.tiny_pipeline import ONE_THREAD, fingerprints, write_config
from tests.tiny_bert import write_tiny_bert
from tests.tiny_world import write_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
TWO_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder / "data")
    return write_config(folder, write_tiny_bert(folder / "bert"))


@pytest.fixture(scope="module")
def in_one_process(config: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("one")
    finish(start(config, root), root)
    found = fingerprints(root)
    assert len(found) > 24  # nodes, some of which make more than one thing
    return found


def start(config: Path, root: Path, beam_args: Iterable[str] = ()) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipelines.run", "--config", str(config), "--root", str(root)]
    with (root / "run.log").open("wb") as log:
        return subprocess.Popen(
            [*command, *beam_args],
            env=os.environ | ONE_THREAD,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def finish(process: subprocess.Popen[bytes], root: Path) -> None:
    assert process.wait() == 0, (root / "run.log").read_text()[-3000:]


def test_two_processes(config: Path, in_one_process: dict[str, str], tmp_path: Path) -> None:
    finish(start(config, tmp_path, TWO_PROCESSES), tmp_path)
    assert fingerprints(tmp_path) == in_one_process


def test_flink_that_loses_a_task_manager(
    config: Path, in_one_process: dict[str, str], cluster: FlinkCluster, tmp_path: Path
) -> None:
    process = start(config, tmp_path, cluster.beam_args)
    job = wait_for_a_job_on_both(cluster, process)
    next(one for one in cluster.task_managers if one.alive()).kill()
    finish(process, tmp_path)
    cluster.add_task_manager()
    assert "askManager" in str(cluster.rest(f"/jobs/{job}/exceptions")), "it lost nothing"
    assert fingerprints(tmp_path) == in_one_process


def wait_for_a_job_on_both(cluster: FlinkCluster, process: subprocess.Popen[bytes]) -> str:
    """The id of a job that has tasks running on both TaskManagers."""
    while process.poll() is None:
        for job in cluster.rest("/jobs/overview")["jobs"]:
            with suppress(ClusterError):  # it may just have ended
                for vertex in cluster.rest(f"/jobs/{job['jid']}")["vertices"]:
                    tasks = cluster.rest(f"/jobs/{job['jid']}/vertices/{vertex['id']}")["subtasks"]
                    running = {t["taskmanager-id"] for t in tasks if t["status"] == "RUNNING"}
                    if len(running) > 1:
                        return str(job["jid"])
        time.sleep(0.1)
    pytest.fail("no job ran on both TaskManagers")
