"""Processes of a cluster: each in a group of its own, with a log of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from idp_tf.errors import ClusterError
from pipelines.flink.configuration import HOST

_GRACE: Final = 10.0
"""Seconds that a process has to end by itself."""
_LINES: Final = 15
"""Of a log, what an error shows, Java's stack frames left out."""


class Process:
    """A process, and whatever it starts.

    Args:
        name: What it is called in errors.
        command: The command and its arguments.
        log: The file that takes what it prints.
        environment: Its whole environment.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]
    ):
        self.name, self.log = name, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
        self.pid: Final = self._process.pid

    def check(self) -> None:
        """Raises ClusterError, with the end of the log, if the process has ended."""
        code = self._process.poll()
        if code is None:
            return
        text = self.log.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if not line.startswith("\tat ")][-_LINES:]
        raise ClusterError(
            f"the {self.name} has ended with {code}; last it said\n" + "\n".join(lines),
            where=self.log,
        )

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Asks the whole group to end, and makes it after ten seconds."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self.kill()

    def kill(self) -> None:
        """Ends the whole group at once, as when its machine is lost."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # nobody is left
            os.killpg(self.pid, number)


def wait_until(
    ready: Callable[[], bool], processes: Sequence[Process], what: str, seconds: float
) -> None:
    """Waits for ``ready`` to be true.

    Raises:
        ClusterError: if a process ends meanwhile, or time is up.
    """
    end = time.monotonic() + seconds
    while not ready():
        for process in processes:
            process.check()
        if time.monotonic() > end:
            logs = ", ".join(str(process.log) for process in processes)
            raise ClusterError(
                f"{what} is not ready after {seconds:.0f} s", where=logs, remedy="see the logs"
            )
        time.sleep(0.2)


def listens(port: int) -> bool:
    """Whether something answers at a port of this machine."""
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex((HOST, port)) == 0


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]
