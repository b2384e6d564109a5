"""Which versions of a model lie in the file system, and which of them a policy asks for.

Follows TF-Serving's ``sources/storage_path/file_system_storage_path_source.cc``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_LOG = logging.getLogger(__name__)

_INTEGER: Final = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*", re.ASCII)
_INT64: Final = range(-(1 << 63), 1 << 63)


def find_versions(
    sources: Mapping[str, Any], allowed: Path | None = None
) -> dict[str, dict[int, Path]]:
    """The versions that are to be served, of every model.

    Args:
        sources: Model name -> ``ModelConfig``.
        allowed: If given, version folders that lie elsewhere, by a link, are left out.

    Returns:
        Model name -> version -> folder.

    Raises:
        OSError: if one base path cannot be read. As in TF-Serving nothing is learnt then of
            the other models either: what is served stays.
    """
    return {name: _versions_of(source, allowed) for name, source in sources.items()}


def choose_versions(found: Mapping[int, Path], policy: Any) -> dict[int, Path]:
    """What a ``ServableVersionPolicy`` picks: the latest version unless it says otherwise.

    Args:
        found: Version -> folder.
        policy: ``all``, ``specific`` (those of its versions that are there) or ``latest``.
    """
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return dict(found)
    if choice == "specific":
        return {number: found[number] for number in policy.specific.versions if number in found}
    latest = policy.latest.num_versions if choice == "latest" else 1
    return {number: found[number] for number in sorted(found)[-max(1, latest) :]}


def is_inside(path: str | Path, folder: Path) -> bool:
    """Whether a path lies in a folder, after every link and ``..``."""
    return Path(path).resolve().is_relative_to(folder.resolve())


def _versions_of(source: Any, allowed: Path | None) -> dict[int, Path]:
    found: dict[int, Path] = {}
    # Sorted, so that of two names of one number ("1", "01") the same one is taken each time.
    for child in sorted(Path(source.base_path).iterdir()):
        number = _version_number(child.name)
        if number is not None and (allowed is None or is_inside(child, allowed)):
            found[number] = child
    return choose_versions(found, source.model_version_policy)


def _version_number(name: str) -> int | None:
    if not _INTEGER.fullmatch(name):
        return None
    number = int(name)
    return number if number in _INT64 else None
