"""Versions of a pushed model: put in place whole, kept for a while, and taken back.

    <destination>/                      a model's folder, as a TF-Serving's base_path
        1764313200/                     a version: seconds since the epoch; the greatest is served
            saved_model.pb …            the SavedModel
            assets.extra/idp_tf/        pushed.json: the fingerprint of what was pushed
        .1764313200.partial/            being copied; a server looks at numbers only
        .1764313200.removing/           being deleted
        .rolled_back/1764313200/        taken back, and
        .rolled_back/1764313200.json    why, when, and in whose favour
        .lock                           held by whoever changes the folder

A version gets its name by one rename, when all of it is on the disk. Whatever a kill leaves
behind is cleaned up by the next change. Only the standard library is needed.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from idp_tf.errors import WorkdirError

SAVED_MODEL: Final = "saved_model.pb"
RECORD: Final = Path("assets.extra", "idp_tf", "pushed.json")
MIN_KEPT: Final = 2
"""The newest, and the one before it, which a server may still be reading."""

_PARTIAL, _REMOVING = ".partial", ".removing"
_ROLLED_BACK: Final = ".rolled_back"
_LOCK: Final = ".lock"

_LOG = logging.getLogger("pipelines.Pusher")


@dataclass(frozen=True)
class Pushed:
    """What a push has come to.

    Args:
        version: The version that holds the model; None if it was refused.
        is_new: Whether it was copied now, or had been the latest already.
        refused: Why it was not pushed; "" if it was.
        removed: Old versions that were deleted.
    """

    version: int | None
    is_new: bool = False
    refused: str = ""
    removed: tuple[int, ...] = ()


@dataclass(frozen=True)
class RolledBack:
    """What a rollback has come to.

    Args:
        version: The version that is the latest now.
        taken_back: The versions that were moved out of the way.
        restored: Whether ``version`` itself had been taken back before.
    """

    version: int
    taken_back: tuple[int, ...] = ()
    restored: bool = False


def list_pushed(destination: Path) -> list[int]:
    """The versions that a server sees, rising."""
    return _numbers(destination)


def push_version(
    source: Path,
    destination: Path,
    *,
    fingerprint: str,
    keep: int,
    now: Callable[[], float] = time.time,
) -> Pushed:
    """Copies a SavedModel to be the latest version, unless it is that already.

    Args:
        source: The SavedModel.
        destination: The folder of the model's versions; it is made.
        fingerprint: Of what is pushed; where the latest version has the same, nothing is
            copied, and where one that was rolled back has, it is refused.
        keep: How many versions stay, at least 2.
        now: Seconds since the epoch, which name the version; if there is one of that number or
            a greater one, it is named by the next number.

    Raises:
        WorkdirError: if it cannot be copied, such as onto a full disk; what was pushed before
            stays as it was.
    """
    if keep < MIN_KEPT:
        raise WorkdirError(f"keeps {keep} versions, must be at least {MIN_KEPT}", where="keep")
    with _told(destination), _locked(destination):
        _clean(destination)
        present = _numbers(destination)
        if present and pushed_fingerprint(destination / str(present[-1])) == fingerprint:
            return Pushed(present[-1], removed=_prune(destination, keep))
        for record in rollbacks(destination):
            if record["fingerprint"] == fingerprint:
                return Pushed(None, refused=_refusal(destination, record))
        taken = [*present, *(record["version"] for record in rollbacks(destination))]
        version = max(int(now()), *(number + 1 for number in taken), 1)
        _copy_whole(source, destination, version, fingerprint)
        return Pushed(version, is_new=True, removed=_prune(destination, keep))


def rollback(destination: Path, *, to: int | None = None, why: str = "") -> RolledBack:
    """Makes an earlier version the latest again; the later ones are kept under a hidden name.

    A server that serves the latest version loads it at its next look. What was rolled back is
    not pushed again, until ``to`` names it here, which restores it. A rollback that was killed
    is ended by the next one, which goes no further back unless ``to`` says so.

    Args:
        destination: The folder of the model's versions.
        to: The version that is to be the latest; the one before the latest by default. It may
            be one that was rolled back.
        why: For the record.

    Raises:
        WorkdirError: if there is no such version, or none before the latest.
    """
    if not destination.is_dir():
        raise WorkdirError("nothing was pushed here", where=destination, remedy="push a model")
    with _told(destination), _locked(destination):
        interrupted = _clean(destination)
        if interrupted and to is None:
            return RolledBack(_numbers(destination)[-1], interrupted)
        target = _target(destination, to)
        restored = target not in _numbers(destination)
        if restored:
            _restore(destination, target)
        later = tuple(number for number in _numbers(destination) if number > target)
        for number in reversed(later):  # a kill must not leave a later one served
            _write_record(destination, number, target, why)
        _take_back(destination)
    return RolledBack(target, later, restored)


def rollbacks(destination: Path) -> list[dict[str, Any]]:
    """Records of what was rolled back, by version: version, fingerprint, why, when, to."""
    files = sorted((destination / _ROLLED_BACK).glob("*.json"))
    return sorted((_read(file) for file in files), key=lambda record: record["version"])


def pushed_fingerprint(version: Path) -> str | None:
    """The fingerprint of a version; None of one that something else has put there."""
    file = version / RECORD
    return _read(file)["fingerprint"] if file.is_file() else None


def _target(destination: Path, to: int | None) -> int:
    present = _numbers(destination)
    hidden = _numbers(destination / _ROLLED_BACK)
    if to is None:
        if len(present) < 2:
            raise WorkdirError(
                f"there is no version to go back to, only {present or 'none'}",
                where=destination,
                remedy=f"name one that was rolled back: {hidden}" if hidden else "push another",
            )
        return present[-2]
    if to not in present and to not in hidden:
        raise WorkdirError(
            f"there is no version {to}",
            where=destination,
            remedy=f"there are {present}, and of those that were rolled back {hidden}",
        )
    return to


def _copy_whole(source: Path, destination: Path, version: int, fingerprint: str) -> None:
    partial = destination / f".{version}{_PARTIAL}"
    try:
        _copy(source, partial, fingerprint)
        os.rename(partial, destination / str(version))
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync(destination)
    _LOG.debug("pushed version %d to %s", version, destination)


def _copy(source: Path, partial: Path, fingerprint: str) -> None:
    """All files, ``saved_model.pb`` last, each on the disk before the next."""
    files = sorted(found.relative_to(source) for found in source.rglob("*") if found.is_file())
    if Path(SAVED_MODEL) not in files:
        raise WorkdirError(f"there is no {SAVED_MODEL}", where=source, remedy="export it again")
    partial.mkdir()
    for file in sorted(files, key=lambda file: file == Path(SAVED_MODEL)):
        target = partial / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if file == Path(SAVED_MODEL):
            _write(partial / RECORD, {"fingerprint": fingerprint})
        shutil.copyfile(source / file, target)
        _sync(target)
    for folder in (*(found for found in partial.rglob("*") if found.is_dir()), partial):
        _sync(folder)


def _prune(destination: Path, keep: int) -> tuple[int, ...]:
    """Deletes what is older than the newest ``keep``, of those rolled back too."""
    old = tuple(_numbers(destination)[:-keep])
    for folder in (destination, destination / _ROLLED_BACK):
        for number in _numbers(folder)[:-keep]:
            # Out of a server's sight at once; deleting takes a while.
            hidden = destination / f".{number}{_REMOVING}"
            os.rename(folder / str(number), hidden)
            shutil.rmtree(hidden)
    return old


def _clean(destination: Path) -> tuple[int, ...]:
    """Ends what a kill has interrupted; the versions that a rollback still had to move."""
    for left in destination.glob(".*"):
        if left.name.endswith((_PARTIAL, _REMOVING)):
            _LOG.warning("removing %s, which something that was killed left behind", left)
            shutil.rmtree(left)
    return _take_back(destination)


def _take_back(destination: Path) -> tuple[int, ...]:
    """Moves every version that a record says was rolled back, the one that is served last."""
    hidden = destination / _ROLLED_BACK
    recorded = {record["version"] for record in rollbacks(destination)}
    taken = tuple(number for number in _numbers(destination) if number in recorded)
    for number in taken:
        os.rename(destination / str(number), hidden / str(number))
        _LOG.info("version %d is taken back", number)
    _sync(destination)
    return taken


def _restore(destination: Path, version: int) -> None:
    hidden = destination / _ROLLED_BACK
    # The record goes first: while it is there, the version counts as taken back.
    (hidden / f"{version}.json").unlink(missing_ok=True)
    _sync(hidden)
    os.rename(hidden / str(version), destination / str(version))
    _sync(destination)


def _write_record(destination: Path, version: int, to: int, why: str) -> None:
    hidden = destination / _ROLLED_BACK
    hidden.mkdir(exist_ok=True)
    record = {
        "version": version,
        "fingerprint": pushed_fingerprint(destination / str(version)),
        "why": why,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "to": to,
    }
    _write(hidden / f"{version}.json", record)


def _refusal(destination: Path, record: dict[str, Any]) -> str:
    version, why = record["version"], f" ({record['why']})" if record["why"] else ""
    kept = (destination / _ROLLED_BACK / str(version)).is_dir()
    return f"This model is version {version}, which was rolled back at {record['when']}{why}; " + (
        f"roll back to {version} to have it again."
        if kept
        else "its files are deleted, and it takes other data or settings to train another."
    )


def _numbers(folder: Path) -> list[int]:
    """Children that a server takes for versions."""
    if not folder.is_dir():
        return []
    names = (child.name for child in folder.iterdir() if child.is_dir())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WorkdirError(
            f"cannot be read: {error}", where=file, remedy="remove that version by hand"
        ) from error


def _write(file: Path, content: Any) -> None:
    """JSON, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.new")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    _sync(partial)
    os.replace(partial, file)
    _sync(file.parent)


def _sync(path: Path) -> None:
    """Waits until a file, or a folder's names, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _told(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkdirError(
            f"the folder of the model's versions could not be changed: {error}",
            where=destination,
            remedy="make room or mend the folder, and run again; what was pushed before is there",
        ) from error


@contextmanager
def _locked(destination: Path) -> Iterator[None]:
    """One at a time; the system lets go of the lock where its holder is killed."""
    destination.mkdir(parents=True, exist_ok=True)
    with (destination / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
