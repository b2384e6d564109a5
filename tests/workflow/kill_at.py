"""Runs ``idp-tf`` and kills it by SIGKILL at a chosen point. Not a test: tests start it.

    python kill_at.py log:REGEX idp-tf's arguments       at the first log line that matches
    python kill_at.py rename:REGEX idp-tf's arguments    before a file takes the name that matches
    python kill_at.py rename-number:N idp-tf's arguments before the N-th renaming of a file

What a rename publishes is whole a moment before it is there, which is where work is lost.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

from idp_tf import cli


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class KillAtLine(logging.Handler):
    def __init__(self, pattern: str):
        super().__init__()
        self.pattern = re.compile(pattern)

    def emit(self, record: logging.LogRecord) -> None:
        if self.pattern.search(record.getMessage()):
            kill()


def watched(rename: Callable[..., None], is_time: Callable[[str], bool]) -> Callable[..., None]:
    def renamed(source: Any, target: Any, **options: Any) -> None:
        if is_time(os.fspath(target)):
            kill()
        rename(source, target, **options)

    return renamed


def counter(limit: int) -> Callable[[str], bool]:
    seen = 0

    def is_time(_: str) -> bool:
        nonlocal seen
        seen += 1
        return seen >= limit

    return is_time


def main() -> None:
    kind, _, what = sys.argv[1].partition(":")
    if kind == "log":
        logging.getLogger("idp_tf").addHandler(KillAtLine(what))
    else:
        matches = re.compile(what).search
        is_time = (
            counter(int(what)) if kind == "rename-number" else lambda path: bool(matches(path))
        )
        os.replace = watched(os.replace, is_time)
        os.rename = watched(os.rename, is_time)
    sys.argv = ["idp-tf", *sys.argv[2:]]
    cli.main()


if __name__ == "__main__":
    main()
