"""A run's log as JSON lines, each with its component.

What the pipeline logs at the level DEBUG is for this file; from INFO on it is for people as well.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = ("pipelines", "idp_tf", "serving")
BEGINS: Final = "begins"
"""An attribute of the record that says that a node begins."""


class JsonLines(logging.Handler):
    """Writes records as JSON lines: time, level, run, node, logger, message.

    Args:
        file: The file; lines are added to it.
        run: The run's number.
    """

    def __init__(self, file: Path, run: int):
        super().__init__(logging.DEBUG)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._stream = file.open("a", encoding="utf-8")
        self._run = run
        self.node = ""

    def begin(self, node: str) -> None:
        """Has the records that follow carry a node's id."""
        self.node = node

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record, and its traceback if it has one."""
        try:
            self._write(record)
        except OSError:  # a full disk must not end what is logged about
            self.handleError(record)

    def note(self, error: BaseException, message: str) -> None:
        """Writes what a run has ended with; people are told of it elsewhere, and once."""
        raised = (type(error), error, error.__traceback__)
        self.emit(logging.LogRecord("pipelines.run", logging.ERROR, "", 0, message, None, raised))

    def _write(self, record: logging.LogRecord) -> None:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created)),
            "level": record.levelname,
            "run": self._run,
            "node": self.node,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = logging.Formatter().formatException(record.exc_info)
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Closes the file."""
        with suppress(OSError):  # what a full disk has not taken was told by emit
            self._stream.close()
        super().close()


@contextmanager
def logged(file: Path, run: int) -> Iterator[JsonLines]:
    """Sends the packages' records to a file of JSON lines while it lasts."""
    handler = JsonLines(file, run)
    for package in PACKAGES:
        logger = logging.getLogger(package)
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
    try:
        yield handler
    finally:
        for package in PACKAGES:
            logging.getLogger(package).removeHandler(handler)
        handler.close()
