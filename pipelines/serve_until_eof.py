"""``idp-tf serve`` for whoever started it: ends when its standard input does.

Usage: ``python -m pipelines.serve_until_eof [flags of idp-tf serve]``. However the other process
ends, by ``kill -9`` too, the system closes the pipe, and no server is left behind.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Serves until SIGTERM or the end of standard input."""
    threading.Thread(target=_wait_for_the_end, name="stdin", daemon=True).start()
    from serving.server import serve
    from serving.server.flags import parse_flags

    serve(**parse_flags(arguments))


def _wait_for_the_end() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1:])
