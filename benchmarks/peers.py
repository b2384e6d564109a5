"""The peers to measure against, in an environment of their own, made by ``make bench-peers``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.base import ROOT, run_process
from idp_tf.errors import MissingDataError

_FOLDER: Final = ROOT / ".venv-peers"
_SCRIPTS: Final = ROOT / "benchmarks" / "peer_scripts"


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
    python = _FOLDER / "bin" / "python"
    if not python.is_file():
        raise MissingDataError(
            "the peers to measure against are not installed",
            where=_FOLDER,
            remedy="make bench-peers",
        )
    return run_process([str(python), str(_SCRIPTS / f"{script}.py")], arguments, threads)
