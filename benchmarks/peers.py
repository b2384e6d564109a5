"""The peers to measure against, in an environment of their own, made by ``make bench-peers``."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any, Final

from benchmarks.base import ROOT, run_process
from idp_tf.errors import MissingDataError

_FOLDER: Final = ROOT / ".venv-peers"
_PYTHON: Final = _FOLDER / "bin" / "python"
_SCRIPTS: Final = ROOT / "benchmarks" / "peer_scripts"


def require_peers(*packages: str) -> None:
    """Finds out before anything is measured whether there is something to measure against.

    Args:
        *packages: Modules that must be importable there.

    Raises:
        MissingDataError: if the environment has not been made, or lacks one of them.
    """
    if not _PYTHON.is_file():
        raise MissingDataError(
            "the peers to measure against are not installed",
            where=_FOLDER,
            remedy="make bench-peers",
        )
    question = (
        "import importlib.util, sys; sys.exit(None in map(importlib.util.find_spec, sys.argv[1:]))"
    )
    if subprocess.run([_PYTHON, "-c", question, *packages], check=False).returncode:
        raise MissingDataError(
            f"of the peers {', '.join(packages)} not all are installed",
            where=_FOLDER,
            remedy="make bench-peers",
        )


def run_peer(script: str, arguments: Mapping[str, Any], *, threads: int) -> Any:
    """Runs a script of ``peer_scripts``, which imports nothing of this project.

    Args:
        script: Its name.
        arguments: Its arguments, as JSON.
        threads: Threads that each library may use.

    Raises:
        MissingDataError: if the environment has not been made.
        IdpError: if it failed.
    """
    require_peers()
    program = [str(_PYTHON), str(_SCRIPTS / f"{script}.py")]
    return run_process(program, arguments, threads)
