"""One JobManager, some TaskManagers and Beam's job server, each a process of this machine."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from idp_tf.errors import ClusterError
from pipelines.flink.configuration import HOST, ClusterSettings, write_configuration
from pipelines.flink.distribution import Distribution
from pipelines.flink.processes import Process, free_ports, listens, wait_until

_START: Final = 120.0
"""Seconds that the cluster has to come up; a machine may be busy."""
_KEEP_WORKER: Final = 15_000
"""Milliseconds that a worker waits for the job's next step; by default each step starts its own."""
_ROOT: Final = Path(__file__).resolve().parents[2]
_OPENED: Final = (
    *(f"java.base/java.{name}" for name in ("lang", "lang.reflect", "net", "io", "nio", "text")),
    *(f"java.base/java.{name}" for name in ("time", "util", "util.concurrent")),
    *(f"java.base/java.util.concurrent.{name}" for name in ("atomic", "locks")),
    "java.base/sun.nio.ch",
)
"""Packages of Java that Flink reads by reflection."""


class FlinkCluster:
    """A Flink cluster with workers for Beam's Python pipelines, which needs no Docker.

    A TaskManager starts its own Python worker (Beam's environment PROCESS), one for each job.
    Workers read and write the files of artifacts by their paths: on several machines those
    would lie on a filesystem that all of them share.

    Args:
        distribution: What to start; see ``find_distribution``.
        folder: For its configuration, logs and spilled data; made if it is not there.
        settings: Its size.
        python_path: Folders of modules that pipelines use, beside ``pipelines`` itself and the
            environment's PYTHONPATH.

    Raises:
        ClusterError: when entered, if a process ends or does not get ready; the error has the
            end of its log.

    Example:
        >>> with FlinkCluster(find_distribution(), Path("flink-run")) as cluster:  # doctest: +SKIP
        ...     pipeline = build_pipeline(cluster.beam_args)
    """

    def __init__(
        self,
        distribution: Distribution,
        folder: Path,
        settings: ClusterSettings | None = None,
        python_path: Sequence[Path] = (),
    ):
        self.distribution = distribution
        self.folder = folder.resolve()
        self.settings = settings or ClusterSettings()
        self.python_path = tuple(python_path)
        self.logs: Final = self.folder / "logs"
        self._scratch: Final = self.folder / "scratch"
        self._worker: Final = self.folder / "sdk-worker"
        self._rpc, self.rest_port, self.job_port, *self._other_ports = free_ports(5)
        self.job_manager: Process | None = None
        self.job_server: Process | None = None
        self.task_managers: list[Process] = []

    def __enter__(self) -> FlinkCluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def beam_args(self) -> tuple[str, ...]:
        """The options with which a pipeline runs here.

        Every exchange is written to disk before it is read
        (``execution_mode_for_batch=BATCH_FORCED``): a lost TaskManager then costs what it had
        made, not the whole job, and two steps that feed a third cannot block each other.
        """
        worker = json.dumps({"command": str(self._worker)})
        return (
            "--runner=PortableRunner",
            f"--job_endpoint={HOST}:{self.job_port}",
            "--environment_type=PROCESS",
            f"--environment_config={worker}",
            f"--environment_cache_millis={_KEEP_WORKER}",
            f"--parallelism={self.settings.parallelism}",
            "--execution_mode_for_batch=BATCH_FORCED",
        )

    def start(self) -> None:
        """Starts all processes, and returns when jobs can be sent."""
        for folder in (self.folder, self.logs, self._scratch):
            folder.mkdir(parents=True, exist_ok=True)
        write_configuration(self.folder, self._scratch, self.settings, self._rpc, self.rest_port)
        self._write_worker()
        self.job_manager = self._java(
            "JobManager",
            "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            [f"-Xmx{self.settings.job_manager_heap}m"],
            ["--configDir", str(self.folder)],
        )
        self.job_server = self._java_job_server()
        for _ in range(self.settings.task_managers):
            self.add_task_manager(wait=False)
        self._wait(self.processes())
        wait_until(lambda: listens(self.job_port), self.processes(), "the job server", _START)

    def add_task_manager(self, *, wait: bool = True) -> None:
        """Starts one more TaskManager, in place of one that is gone or beside the others."""
        self.task_managers.append(
            self._java(
                f"TaskManager-{len(self.task_managers) + 1}",
                "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
                self.settings.task_manager_options(),
                ["--configDir", str(self.folder)],
            )
        )
        if wait:
            lost = [process for process in self.task_managers if not process.alive()]
            self._wait([process for process in self.processes() if process not in lost])

    def stop(self) -> None:
        """Ends all processes, workers included; logs stay."""
        for process in self.processes():
            process.stop()

    def rest(self, path: str) -> Any:
        """What the JobManager's REST interface answers, such as to ``/jobs/overview``.

        Raises:
            ClusterError: if it does not answer.
        """
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{HOST}:{self.rest_port}{path}", timeout=10) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError) as error:
            raise ClusterError(
                f"the JobManager does not answer {path}: {error}", where=self.logs
            ) from error

    def processes(self) -> list[Process]:
        """All that have been started, those that have ended since among them."""
        others = [one for one in (self.job_server, self.job_manager) if one is not None]
        return [*self.task_managers, *others]

    def _wait(self, processes: Sequence[Process]) -> None:
        """Until as many TaskManagers have registered as are among ``processes``."""
        task_managers = sum(process in self.task_managers for process in processes)

        def registered() -> bool:
            try:
                return bool(self.rest("/overview")["taskmanagers"] >= task_managers)
            except ClusterError:
                return False

        wait_until(registered, processes, "the cluster", _START)

    def _java_job_server(self) -> Process:
        artifact_port, expansion_port = self._other_ports
        return self._java(
            "job-server",
            "org.apache.beam.runners.flink.FlinkJobServerDriver",
            [f"-Xmx{self.settings.job_server_heap}m"],
            [
                f"--flink-master={HOST}:{self.rest_port}",
                f"--flink-conf-dir={self.folder}",
                f"--job-host={HOST}",
                f"--job-port={self.job_port}",
                f"--artifact-port={artifact_port}",
                f"--expansion-port={expansion_port}",
                f"--artifacts-dir={self._scratch / 'artifacts'}",
            ],
        )

    def _java(self, name: str, main: str, limits: list[str], arguments: list[str]) -> Process:
        command = [
            str(self.distribution.java),
            *limits,
            "-XX:+UseSerialGC",
            f"-Djava.io.tmpdir={self._scratch}",
            f"-Dlog4j2.configurationFile={(self.folder / 'log4j.properties').as_uri()}",
            *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED),
            "-cp",
            os.pathsep.join(map(str, self.distribution.class_path)),
            main,
            *arguments,
        ]
        return Process(name, command, self.logs / f"{name}.log", os.environ)

    def _write_worker(self) -> None:
        """A command without arguments, since that is all that a TaskManager can start."""
        found = os.environ.get("PYTHONPATH")
        folders = [str(folder.resolve()) for folder in (*self.python_path, _ROOT)]
        path = os.pathsep.join([*folders, *([found] if found else [])])
        self._worker.write_text(
            f'#!/bin/sh\nPYTHONPATH="{path}" exec "{sys.executable}"'
            f' -m pipelines.flink.sdk_worker "$@" >>"{self.logs}/sdk-workers.log" 2>&1\n',
            encoding="utf-8",
        )
        self._worker.chmod(0o755)
