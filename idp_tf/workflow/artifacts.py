"""Artifacts of a workdir: folders that remember what made them.

A folder that a stage fills holds ``inputs.json``, written before the work begins,
and ``done.json``, written when it is whole. The next run compares its own inputs:

* done, the same inputs: the artifact is reused;
* not done, the same inputs: the stage goes on where it was;
* other inputs: refused, naming what differs, unless a rebuild was asked for or
  nothing had come of them yet.

An artifact's key is a hash of its inputs, and stands among the inputs of whatever
is made from it, so a change anywhere reaches all that hangs on it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from idp_tf.errors import WorkdirError

INPUTS_FILE = "inputs.json"
DONE_FILE = "done.json"

# What NumPy and polars raise on files that are cut short.
_DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile, pl.exceptions.PolarsError)

_log = logging.getLogger(__name__)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        WorkdirError: if the file is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkdirError(
            f"cannot be read: {error}", where=path, remedy="delete its folder and run again"
        ) from error


@dataclass
class Artifact:
    """A folder that one stage fills.

    Args:
        folder: Where it lies.
        name: What messages and reports call it.
        inputs: Everything that decides its content, as JSON.

    Attributes:
        made_here: Whether this run finished it; otherwise it is an earlier run's.
    """

    folder: Path
    name: str
    inputs: dict[str, Any]
    made_here: bool = field(default=False, init=False)
    _opened: bool = field(default=False, init=False)
    _began: float = field(default_factory=time.monotonic, init=False)

    @property
    def key(self) -> str:
        """A hash of the inputs."""
        text = json.dumps(self.inputs, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def is_done(self) -> bool:
        """Whether the folder is whole."""
        return (self.folder / DONE_FILE).is_file()

    @property
    def is_current(self) -> bool:
        """Whether the folder is whole and these inputs made it."""
        return self.is_done and not self._differences()

    @property
    def summary(self) -> dict[str, Any]:
        """What ``finish`` was given, and the seconds."""
        content = read_json(self.folder / DONE_FILE)
        assert isinstance(content, dict)
        return content

    def open(self, *, rebuild: bool = False) -> bool:
        """Makes the folder ready for work; True if nothing is left to do.

        Args:
            rebuild: Empty the folder if other inputs made it, rather than refuse.

        Raises:
            WorkdirError: if other inputs made it and no rebuild was asked for.
        """
        if self._opened:
            return self.is_done
        if not rebuild:
            self.check()
        self._opened = True
        if self._differences():
            self._remove()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._inputs_file.is_file():
            write_json(self._inputs_file, self.inputs)
        _log.info("%s: %s", self.name, "reused" if self.is_done else "begins")
        self._began = time.monotonic()
        return self.is_done

    def check(self) -> None:
        """Checks that nothing in the folder was made by other inputs.

        Raises:
            WorkdirError: naming what differs.
        """
        found = self._differences()
        if found and self._holds_work():
            raise WorkdirError(
                f"'{self.name}' was made by other settings or data: "
                + "; ".join(found[:5])
                + (f"; and {len(found) - 5} more" if len(found) > 5 else ""),
                where=self.folder,
                remedy="choose another --workdir, go back to those settings, "
                "or add --rebuild to make it anew",
            )

    def finish(self, **summary: Any) -> None:
        """Declares the folder whole.

        Args:
            **summary: Figures for the report, as JSON.
        """
        seconds = round(time.monotonic() - self._began, 2)
        write_json(self.folder / DONE_FILE, {**summary, "seconds": seconds})
        self.made_here = True
        _log.info("%s: done in %.1f s", self.name, seconds)

    def require(self) -> None:
        """Checks that the folder is whole and was made by these inputs.

        Raises:
            WorkdirError: if it is not there, not whole, or made by other inputs.
        """
        if not self.is_done:
            raise WorkdirError(
                f"'{self.name}' has not been made yet",
                where=self.folder,
                remedy="run the stages before this one, or idp-tf run for all of them",
            )
        self.open()

    @contextmanager
    def reading(self, file: Path) -> Iterator[None]:
        """Turns what NumPy and polars raise on a missing or damaged file into one error.

        Raises:
            WorkdirError: naming the file, and what to delete.
        """
        try:
            yield
        except _DAMAGE as error:
            raise WorkdirError(
                f"cannot be read: {error}",
                where=file,
                remedy=f"delete {self.folder} and run again",
            ) from error

    @property
    def _inputs_file(self) -> Path:
        return self.folder / INPUTS_FILE

    def _differences(self) -> list[str]:
        if not self._inputs_file.is_file():
            return []
        return differences(read_json(self._inputs_file), json.loads(json.dumps(self.inputs)))

    def _holds_work(self) -> bool:
        return any(
            path.name != INPUTS_FILE and not path.name.startswith(".")
            for path in self.folder.iterdir()
        )

    def _remove(self) -> None:
        """Takes the folder away at once: a kill midway must not leave half of it to be resumed."""
        _log.info("%s: other settings made it, it is made anew", self.name)
        old = self.folder.with_name(f".{self.folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        self.folder.rename(old)
        shutil.rmtree(old)


def differences(found: Any, wanted: Any, prefix: str = "") -> list[str]:
    """Where two JSON values differ, in words, one for each place."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            line
            for key in sorted({*found, *wanted})
            for line in differences(found.get(key), wanted.get(key), f"{prefix}{key}.")
        ]
    if found == wanted:
        return []
    return [f"{prefix.rstrip('.')} is {_short(wanted)}, there it was {_short(found)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
