"""What can be tested of the cluster without Flink."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_provision_api_pb2, beam_runner_api_pb2

from idp_tf.errors import ClusterError, MissingDataError, SettingsError
from pipelines.flink import ClusterSettings, Distribution, FlinkCluster, find_distribution
from pipelines.flink.__main__ import main
from pipelines.flink.configuration import write_configuration
from pipelines.flink.processes import Process, free_ports, listens, wait_until
from pipelines.flink.sdk_worker import environment, refuse_staged

JARS = ("flink-dist-1.jar", "log4j-api-2.jar", "log4j-core-2.jar", "log4j-slf4j-impl-2.jar")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `make flink` would have fetched, and a java; all of them empty."""
    for name in (*JARS, "beam-1.jar", "java"):
        (tmp_path / name).touch()
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_a_whole_distribution(home: Path) -> None:
    found = find_distribution(home)
    assert found.java == home / "java"
    assert [path.name for path in found.class_path] == [*JARS, "beam-1.jar"]


@pytest.mark.parametrize(
    ("lost", "coordinates"),
    [
        ("flink-dist-1.jar", "apache-flink-libraries==1.19.3"),
        ("beam-1.jar", "org.apache.beam:beam-runners-flink-1.19:2.62.0"),
    ],
)
def test_a_missing_jar_names_what_brings_it(home: Path, lost: str, coordinates: str) -> None:
    (home / lost).unlink()
    with pytest.raises(MissingDataError, match=f"{coordinates}.*\n.*make flink"):
        find_distribution(home)


def test_the_names_in_errors_are_what_make_fetches() -> None:
    from pipelines.flink import distribution

    folder = Path(distribution.__file__).parent
    assert distribution.FLINK in (folder / "requirements.txt").read_text().splitlines()
    group, artifact, version = distribution.BEAM.split(":")
    pom = "".join((folder / "pom.xml").read_text().split())
    wanted = f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}<"
    assert wanted in pom


def test_no_java(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "java").unlink()
    assert shutil.which("java") is None
    assert main(["--home", str(home), "--folder", str(home / "run")]) == 2
    said = capsys.readouterr().err
    assert "Java 17" in said
    assert "openjdk-17" in said


def test_more_tasks_than_slots() -> None:
    with pytest.raises(SettingsError, match="parallelism: 5 tasks"):
        ClusterSettings(task_managers=2, slots=2, parallelism=5)
    with pytest.raises(SettingsError, match="managed: must be at least 1"):
        ClusterSettings(managed=0)


def test_memory_is_explicit_and_under_6_gib(tmp_path: Path) -> None:
    """Flink's own sum, from its documentation: every part of a TaskManager's memory."""
    settings = ClusterSettings()
    write_configuration(tmp_path, tmp_path, settings, 1, 2)
    lines = (tmp_path / "flink-conf.yaml").read_text().splitlines()
    conf = dict(line.split(": ", 1) for line in lines)
    parts = ["framework.heap", "framework.off-heap", "task.heap", "task.off-heap", "managed"]
    sizes = [conf[f"taskmanager.memory.{part}.size"] for part in (*parts, "jvm-metaspace")]
    sizes += [conf[f"taskmanager.memory.{part}.max"] for part in ("network", "jvm-overhead")]
    task_manager = sum(int(size.removesuffix("m")) for size in sizes)
    heaps = settings.job_manager_heap + settings.job_server_heap
    assert 2 * task_manager + 2 * heaps < 4608  # at most; two workers have the rest
    assert conf["restart-strategy.type"] == "fixed-delay"
    assert {conf[key] for key in conf if key.endswith(("-host", "-address", ".host"))} == {
        "127.0.0.1"
    }
    assert "-Xmx384m" in settings.task_manager_options()  # framework's heap and the tasks'


def test_the_worker_has_what_beam_looks_for(tmp_path: Path) -> None:
    info = beam_provision_api_pb2.ProvisionInfo()
    info.pipeline_options.update({"beam:option:job_name:v1": "shop"})
    info.logging_endpoint.url, info.control_endpoint.url = "here:1", "here:2"
    info.runner_capabilities.extend(["a", "b"])
    found = environment("1-1", info)
    assert json.loads(found.pop("PIPELINE_OPTIONS")) == {"beam:option:job_name:v1": "shop"}
    assert found == {
        "WORKER_ID": "1-1",
        "LOGGING_API_SERVICE_DESCRIPTOR": 'url: "here:1"',
        "CONTROL_API_SERVICE_DESCRIPTOR": 'url: "here:2"',
        "RUNNER_CAPABILITIES": "a b",
    }


@pytest.mark.parametrize("name", ["submission_environment_dependencies.txt", "requirements.txt"])
def test_the_worker_installs_nothing(name: str) -> None:
    role = beam_runner_api_pb2.ArtifactStagingToRolePayload(staged_name=name)
    info = beam_provision_api_pb2.ProvisionInfo()
    info.dependencies.add(role_payload=role.SerializeToString())
    if name.startswith("submission"):
        refuse_staged(info)
    else:
        with pytest.raises(SettingsError, match=r"stages 'requirements.txt'"):
            refuse_staged(info)


def process(tmp_path: Path, code: str) -> Process:
    return Process("helper", [sys.executable, "-c", code], tmp_path / "helper.log", os.environ)


def test_a_process_that_ends_shows_its_log(tmp_path: Path) -> None:
    one = process(tmp_path, "print('no room'); raise SystemExit(3)")
    with pytest.raises(ClusterError, match=r"(?s)helper has ended with 3.*no room"):
        wait_until(lambda: False, [one], "the cluster", 60)
    assert not one.alive()


def test_what_is_never_ready_names_the_logs(tmp_path: Path) -> None:
    one = process(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(ClusterError, match=r"helper.log: the cluster is not ready after 0 s"):
        wait_until(lambda: False, [one], "the cluster", 0.1)
    one.kill()
    one.stop()  # of what is gone
    assert not one.alive()


def test_a_lost_machine_takes_its_workers_along(tmp_path: Path) -> None:
    """A TaskManager's worker is a child of its; it holds a lock that the system gives back."""
    port = free_ports(1)[0]
    child = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
    one = process(
        tmp_path, f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    )
    wait_until(lambda: listens(port), [one], "the child", 60)
    one.kill()
    end = time.monotonic() + 10
    while listens(port) and time.monotonic() < end:
        time.sleep(0.1)
    assert not listens(port)


def test_ports_differ_and_can_be_had() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_cluster_whose_java_fails_says_so_and_leaves_nothing(home: Path) -> None:
    (home / "java").write_text("#!/bin/sh\necho no such option\nexit 1\n")
    cluster = FlinkCluster(Distribution(home / "java", ()), home / "run")
    with pytest.raises(ClusterError, match=r"(?s)has ended with 1.*no such option"), cluster:
        pass
    assert not any(process.alive() for process in cluster.processes())


def test_the_container_has_the_locks_beam() -> None:
    from pipelines import flink

    root = Path(flink.__file__).parents[2]
    lock = (root / "requirements.lock").read_text().splitlines()
    (version,) = [line.split("==")[1] for line in lock if line.startswith("apache-beam==")]
    container = (root / "pipelines" / "container" / "Dockerfile").read_text()
    assert f"FROM apache/beam_python3.11_sdk:{version}\n" in container
    assert f"version('apache-beam') == '{version}'" in container
    assert all((root / name).exists() for name in ("setup.cfg", "pyproject.toml", "LICENSE"))
