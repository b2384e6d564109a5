"""Processes that the benchmark ``serve`` runs side by side: servers, and those that it asks."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.base import ROOT
from idp_tf.errors import IdpError

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PATIENCE: Final = 30.0
"""Seconds until a process that was asked to end is killed."""


class Process:
    """A Python process that speaks by lines; its end is the end of the ``with`` block.

    Args:
        arguments: What follows ``python -m``.
        log: What it says on standard error goes into this file.

    Raises:
        IdpError: from ``read``, if it ended before it answered.
    """

    def __init__(self, arguments: list[str], log: Path):
        self._name, self._log = arguments[0], log
        with log.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"},
            )

    def read(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._log.read_text(encoding="utf-8").strip()[-2_000:]
            raise IdpError(f"the process {self._name} of a measurement has ended: {said}")
        return line

    def ask(self, **question: Any) -> Any:
        """Sends a line of JSON, and reads one."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self.read())

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process alone, user and system, to a hundredth."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8")
        # The name in brackets may hold blanks; utime and stime are fields 14 and 15.
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / _TICK

    @property
    def resident_mib(self) -> float:
        """Resident memory in MiB."""
        text = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        if found is None:
            raise IdpError(f"/proc tells no resident memory of the process {self._name}")
        return int(found[1]) / 1024

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


class Server(Process):
    """``idp-tf serve`` on a free port of the loopback interface.

    Args:
        folder: Where ``export/models.config`` is.
        batching: Whether requests are batched, by the export's own parameters.
        threads: Of sessions, within an op and between ops.
    """

    def __init__(self, folder: Path, *, batching: bool, threads: tuple[int, int]):
        within, between = threads
        flags = [
            f"--model_config_file={folder / 'export' / 'models.config'}",
            "--port=0",
            # Two servers cannot both have its default.
            "--rest_api_port=0",
            f"--tensorflow_intra_op_parallelism={within}",
            f"--tensorflow_inter_op_parallelism={between}",
        ]
        if batching:
            extra = folder / "export" / "recommender" / "1" / "assets.extra"
            flags += [
                "--enable_batching",
                f"--batching_parameters_file={extra / 'batching_parameters.txt'}",
            ]
        super().__init__(["idp_tf.cli", "serve", *flags], folder / f"server-{batching}.log")
        self._address = ""

    @property
    def address(self) -> str:
        """``HOST:PORT``; waits until it answers."""
        if not self._address:
            self._address = self.read().split()[-1]
        return self._address
