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

_LOOK: Final = """
import importlib.util, sys
sys.exit(any(importlib.util.find_spec(module) is None for module in sys.argv[1:]))
"""


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
    return run_process([str(_PYTHON), str(_SCRIPTS / f"{script}.py")], arguments, threads)


def require_peers(*modules: str) -> None:
    """Refuses to begin where the peers are missing, before anything long has run.

    Args:
        modules: What the peers' environment must hold.

    Raises:
        MissingDataError: if there is no such environment, or a module is not in it.
    """
    if _PYTHON.is_file():
        look = [str(_PYTHON), "-c", _LOOK, *modules]
        if subprocess.run(look, check=False).returncode == 0:
            return
    raise MissingDataError(
        "the peers to measure against are not installed: " + (", ".join(modules) or "no Python"),
        where=_FOLDER,
        remedy="make bench-peers",
    )
