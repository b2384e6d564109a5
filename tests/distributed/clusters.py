"""Clusters of local processes, every one of which ends with the test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

TASK = Path(__file__).with_name("train_task.py")
ROOT = Path(__file__).parents[2]


class Cluster:
    """Processes of one training, by task: ``("worker", 0)``."""

    def __init__(self, folder: Path, strategy: str, tasks: Sequence[tuple[str, int]], *options):
        self.folder = folder
        self.command = [sys.executable, str(TASK), strategy, str(folder), *map(str, options)]
        self.tasks = tasks
        self.processes: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
        self.addresses = dict(zip(tasks, free_addresses(len(tasks)), strict=True))
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Cluster:
        for task in self.tasks:
            self.start(task)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def start(self, task: tuple[str, int]) -> None:
        """Starts one task; also one that was killed, at the same address."""
        cluster: dict[str, list[str]] = {}
        for kind, _ in self.tasks:
            cluster[kind] = [self.addresses[other] for other in self.tasks if other[0] == kind]
        config = {"cluster": cluster, "task": {"type": task[0], "index": task[1]}}
        with self.log(task).open("ab") as log:
            self.processes[task] = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join([str(ROOT), str(TASK.parent)]),
                    "TF_CONFIG": json.dumps(config),
                    "TF_CPP_MIN_LOG_LEVEL": "2",
                },
            )

    def kill(self, task: tuple[str, int]) -> None:
        """``kill -9``."""
        self.processes[task].send_signal(signal.SIGKILL)
        self.processes[task].wait()

    def log(self, task: tuple[str, int]) -> Path:
        """What a task prints."""
        return self.folder / f"{task[0]}-{task[1]}.log"

    def wait(self, task: tuple[str, int], seconds: float) -> int:
        """The exit status of a task.

        Raises:
            AssertionError: if it takes longer.
        """
        try:
            return self.processes[task].wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{task} is still at work: {self.tail(task)}") from None

    def wait_for_line(self, task: tuple[str, int], text: str, seconds: float) -> None:
        """Waits until a task has printed a text.

        Raises:
            AssertionError: if it takes longer, or the task ends before.
        """
        end = time.monotonic() + seconds
        while text not in self.log(task).read_text(errors="replace"):
            assert time.monotonic() < end, f"no {text!r} of {task}: {self.tail(task)}"
            assert self.processes[task].poll() is None, self.tail(task)
            time.sleep(0.05)

    def tail(self, task: tuple[str, int]) -> str:
        """The end of what a task has printed."""
        return self.log(task).read_text(errors="replace")[-3000:]


def free_addresses(count: int) -> list[str]:
    """Addresses of this machine at which nobody listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
