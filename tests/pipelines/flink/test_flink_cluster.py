"""A JobManager and two TaskManagers as processes of their own; needs `make flink`."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from component_run import statistics

from idp_tf.errors import ClusterError, SettingsError
from pipelines.flink import FlinkCluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def wait_for(ready: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + 300
    while time.monotonic() < end:
        found = ready()
        if found:
            return found
        time.sleep(0.2)
    pytest.fail(f"waited too long for {what}")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Events whose users and items thin out over several rounds."""
    folder = tmp_path_factory.mktemp("logs")
    draw = random.Random(7)
    rows = [
        f"u{draw.paretovariate(0.8):.0f},i{draw.paretovariate(0.6):.0f},{when}"
        for when in range(600)
    ]
    for k in range(4):
        (folder / f"{k}.csv").write_text("\n".join(rows[k::4]) + "\n")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def local(logs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from flink_job import run_job

    found = run_job(logs, tmp_path_factory.mktemp("local"))
    assert len(found["rounds"]) > 2  # it does iterate
    assert found["rounds"][0]["rows read"] == 600
    assert found["counted"]["users"] > 10
    return found


def test_the_same_result_though_a_task_manager_is_killed_midway(
    cluster: FlinkCluster, logs: list[Path], local: dict[str, Any], tmp_path: Path
) -> None:
    """Both TaskManagers have begun the step when one is lost, with its worker and its files."""
    from flink_job import run_job

    gate = tmp_path / "gate"
    gate.mkdir()
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(run_job, logs, tmp_path / "out", cluster.beam_args, gate)
        wait_for(lambda: len(list(gate.glob("worker-*"))) >= 2 or job.done(), "two workers")
        assert not job.done(), job.result()
        running = running_job(cluster)
        cluster.task_managers[0].kill()
        wait_for(lambda: cluster.rest("/overview")["taskmanagers"] == 1, "the loss to be seen")
        (gate / "open").touch()
        found = job.result()
    assert found == local
    exceptions = cluster.rest(f"/jobs/{running}/exceptions")
    assert "askManager" in str(exceptions), "it did not run into the loss"
    cluster.add_task_manager()
    assert cluster.rest("/overview")["taskmanagers"] == 2


def running_job(cluster: FlinkCluster) -> str:
    jobs = cluster.rest("/jobs/overview")["jobs"]
    (running,) = [job["jid"] for job in jobs if job["state"] == "RUNNING"]
    return str(running)


def test_statistics_are_those_of_the_local_runner(cluster: FlinkCluster, tmp_path: Path) -> None:
    assert statistics(tmp_path / "there", cluster.beam_args) == statistics(tmp_path / "here")


def test_what_a_step_raises_comes_back(cluster: FlinkCluster, tmp_path: Path) -> None:
    from flink_job import filter_once

    with pytest.raises(RuntimeError, match="No such file"):
        filter_once([tmp_path / "nothing.csv"], tmp_path, cluster.beam_args)


def test_options_of_the_job_server_are_known_and_others_refused(cluster: FlinkCluster) -> None:
    from pipelines.beam_options import build_options

    assert "--execution_mode_for_batch=BATCH_FORCED" in cluster.beam_args
    build_options(cluster.beam_args)
    with pytest.raises(SettingsError, match="--no_such_thing"):
        build_options([*cluster.beam_args, "--no_such_thing=1"])


def test_a_process_that_cannot_start_says_why(cluster: FlinkCluster, tmp_path: Path) -> None:
    other = FlinkCluster(cluster.distribution, tmp_path)
    with (
        socket.create_server(("127.0.0.1", other.rest_port)),  # taken, by who never answers
        pytest.raises(ClusterError, match=r"(?s)JobManager has ended.*BindException"),
        other,
    ):
        pass
    assert not any(process.alive() for process in other.processes())
