"""A server in a process of its own, as ``idp-tf serve`` starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from small_models import PATIENCE

ROOT = Path(__file__).parents[2]
PAGE = os.sysconf("SC_PAGE_SIZE")


class ServerProcess:
    """Starts on a free port, without REST; killed at the end, unless ``stop`` has ended it.

    Args:
        log: Where its standard error goes.
        flags: Of ``idp-tf serve``, by name.
    """

    def __init__(self, log: Path, **flags: object):
        options = [
            f"--{name}={value}" for name, value in {"port": 0, "rest_api_port": 0, **flags}.items()
        ]
        self.log = log
        self.address = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "idp_tf.cli", "serve", *options],
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
            cwd=ROOT,
            # A request that waits takes one of TensorFlow's threads; others must be left.
            env={**os.environ, "TF_NUM_INTEROP_THREADS": "4", "TF_NUM_INTRAOP_THREADS": "1"},
        )

    def wait_until_ready(self) -> ServerProcess:
        """Reads the address that it announces once its models answer."""
        out = self._process.stdout
        assert out is not None
        line = out.readline()
        found = re.search(r" on (\S+:\d+)", line)
        assert found, f"the server has ended: {line!r} {self.log.read_text()[-2000:]}"
        self.address = found[1]
        return self

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * PAGE

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit status of a server that ends by itself."""
        return self._process.wait(PATIENCE)

    def __enter__(self) -> ServerProcess:
        return self.wait_until_ready()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
