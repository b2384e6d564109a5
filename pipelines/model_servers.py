"""Servers that answer by one model: a local process of its own, or a TF-Serving that is there."""

from __future__ import annotations

import logging
import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import idp_tf
from idp_tf.errors import ServingError

_GRACE_SECONDS: Final = 15.0
"""How long a server may take to end."""

_LOG_TAIL: Final = 1500
_LOOK_SECONDS: Final = 0.2
_ANNOUNCED: Final = re.compile(rb" on (\S+:\d+)")
_COMMAND: Final = (sys.executable, "-m", "pipelines.serve_until_eof")

_LOG = logging.getLogger("pipelines.InfraValidator")


@dataclass(frozen=True)
class Address:
    """Where a model answers.

    Args:
        address: ``HOST:PORT`` of gRPC.
        model: The model's name there.
        version: Its version.
    """

    address: str
    model: str
    version: int


@contextmanager
def serve_locally(
    model: Path,
    name: str,
    scratch: Path,
    *,
    seconds: float,
    command: Sequence[str] = _COMMAND,
) -> Iterator[Address]:
    """The server of ``idp-tf serve`` in a process of its own, on 127.0.0.1 and a free port.

    Args:
        model: The SavedModel; it is served from where it lies.
        name: The model's name.
        scratch: A folder for the server's log.
        seconds: How long it may take until it answers.
        command: What is run, before the flags.

    Raises:
        ServingError: if it ends, or does not answer in time; with the end of its log.
    """
    base = scratch / name
    base.mkdir(parents=True, exist_ok=True)
    version = base / "1"
    version.unlink(missing_ok=True)
    version.symlink_to(model.resolve(), target_is_directory=True)
    log = scratch / "server.log"
    flags = (
        "--port=0",
        "--rest_api_port=0",
        f"--model_name={name}",
        f"--model_base_path={base.resolve()}",
        "--max_num_load_retries=0",
        "--file_system_poll_wait_seconds=0",
    )
    with log.open("wb") as stderr, _started([*command, *flags], stderr) as process:
        yield Address(_announced(process, log, seconds), name, 1)


@contextmanager
def serve_by_tf_serving(
    model: Path, address: str, name: str, base_path: Path, *, fingerprint: str, seconds: float
) -> Iterator[Address]:
    """A TF-Serving that is there: the model becomes the latest version of a folder it watches.

    Args:
        model: The SavedModel.
        address: ``HOST:PORT`` of its gRPC port.
        name: The model's name there.
        base_path: The model's folder as seen from here, a place for trials and not where users'
            answers come from; the two newest versions stay in it.
        fingerprint: Of the model.
        seconds: How long it may take until the version is available.

    Raises:
        ServingError: if it cannot load it, or not in time.
    """
    from pipelines.versions import MIN_KEPT, push_version

    pushed = push_version(model, base_path, fingerprint=fingerprint, keep=MIN_KEPT)
    if pushed.version is None:
        raise ServingError(pushed.refused, where=base_path)
    where = Address(address, name, pushed.version)
    _wait_until_available(where, seconds)
    yield where


@contextmanager
def _started(command: Sequence[str], stderr: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    root = str(Path(idp_tf.__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        with process:
            try:
                yield process
            finally:
                _end(process)
    finally:
        _LOG.debug("the server has ended with status %s", process.returncode)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _LOG.warning("the server does not end by itself, and is killed")
        process.kill()


def _announced(process: subprocess.Popen[bytes], log: Path, seconds: float) -> str:
    """The address that the server prints once its model answers."""
    assert process.stdout is not None
    out, told, end = process.stdout, b"", time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(out, selectors.EVENT_READ)
        while not (found := _ANNOUNCED.search(told)) or b"\n" not in told:
            left = end - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise ServingError(
                    f"the server did not answer within {seconds:g} seconds{_tail(log)}"
                )
            part = os.read(out.fileno(), 4096)
            if not part:
                raise ServingError(f"the server has ended while it loaded the model{_tail(log)}")
            told += part
    return found[1].decode()


def _tail(log: Path) -> str:
    text = log.read_text(errors="replace")[-_LOG_TAIL:].strip()
    return f"; its log ends:\n{text}" if text else ""


def _wait_until_available(where: Address, seconds: float) -> None:
    from serving.client import ModelSpec, ServingClient, ServingClientError

    end, told = time.monotonic() + seconds, "it does not know the model"
    with ServingClient(where.address) as client:
        while time.monotonic() < end:
            try:
                (status,) = client.status(ModelSpec(where.model, where.version))
            except ServingClientError as error:
                told = error.message
            else:
                if status.state == "AVAILABLE":
                    return
                told = f"{status.state} {status.error}".strip()
                if status.error:
                    break
            time.sleep(_LOOK_SECONDS)
    raise ServingError(
        f"version {where.version} of {where.model} is not available after at most {seconds:g} "
        f"seconds: {told}",
        where=where.address,
    )
