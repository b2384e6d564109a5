"""A pipeline's root on the disk: its folders, and the lock that keeps a second run out."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from idp_tf.errors import WorkdirError

_LOCK: Final = ".lock"
_WORK: Final = ".work"
_PARTIAL: Final = ".partial-"
_POLL_SECONDS: Final = 0.5
_log = logging.getLogger("pipelines.root")


def output_folder(root: Path, node_id: str, output: str, execution: int) -> Path:
    """Where an execution's output lies when it is whole, as in TFX."""
    return root / node_id / output / str(execution)


def partial_folder(final: Path) -> Path:
    """Where an output is made, beside its place."""
    return final.with_name(f"{_PARTIAL}{final.name}")


def work_folder(root: Path, node_id: str, cache_key: str) -> Path:
    """What outlives a kill: the next execution with the same key finds it."""
    return root / _WORK / node_id / cache_key[:16]


def logs_folder(root: Path) -> Path:
    """One file of JSON lines for each run."""
    return root / "logs"


def remove_partials(root: Path) -> list[Path]:
    """Removes half-made outputs of executions that were killed; what was removed.

    Those of nodes that the pipeline has no more are among them.
    """
    found = sorted(root.glob(f"*/*/{_PARTIAL}*"))
    for partial in found:
        shutil.rmtree(partial)
    return found


@contextmanager
def locked(root: Path, *, wait: bool = False) -> Iterator[None]:
    """Keeps other runs from a root; the end of the process frees it, however it comes.

    Args:
        root: The root; it is made if it is not there.
        wait: Wait for the other run to end, rather than refuse.

    Raises:
        WorkdirError: if another run is at work there, naming its process and since when.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / _LOCK).open("a+", encoding="utf-8") as file:
        _acquire(file.fileno(), root, wait)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "began": time.time()}))
        file.flush()
        yield


def _acquire(descriptor: int, root: Path, wait: bool) -> None:
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if not wait:
                raise WorkdirError(
                    f"another run is at work here{_holder(root)}",
                    where=root,
                    remedy="wait until it has ended, add --wait, or choose another --root",
                ) from error
            if not told:
                _log.info("waiting for the run that is at work here%s", _holder(root))
            told = True
            time.sleep(_POLL_SECONDS)


def _holder(root: Path) -> str:
    """Who holds the lock, as far as it can be read."""
    try:
        noted = json.loads((root / _LOCK).read_text(encoding="utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(noted["began"]))
        return f" (process {noted['pid']}, since {since})"
    except (OSError, ValueError, KeyError):
        return ""
