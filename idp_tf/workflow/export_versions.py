"""Which versions of which model are in ``export/``, and of what they were made."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idp_tf.retrieval import MIN_VECTORS
from idp_tf.workflow.artifacts import read_json, write_json

VERSIONS_FILE = "versions.json"

# Raised when the same inputs would make something else.
_FORMAT = 2

_log = logging.getLogger(__name__)


def export_key(*parts: str) -> str:
    """The key of an export, of the keys of what it is made from."""
    return "-".join([str(_FORMAT), *parts])


def enough_for_scann(name: str, num_items: int) -> bool:
    """Whether ScaNN can index so many items; warns where it cannot."""
    if num_items < MIN_VECTORS:
        _log.warning(
            "%s is not exported: ScaNN needs at least %d items, here are %d",
            name,
            MIN_VECTORS,
            num_items,
        )
    return num_items >= MIN_VECTORS


def is_exported(folder: Path, name: str, key: str) -> bool:
    """Whether the model's latest version has that key and is whole."""
    known = noted_versions(folder).get(name)
    if known is None or known["key"] != key:
        return False
    whole = (folder / name / known["version"] / "saved_model.pb").is_file()
    if whole:
        _log.info("export of %s: version %s is reused", name, known["version"])
    return whole


def warn_of_another(folder: Path, name: str, about: Mapping[str, Any]) -> None:
    """Warns where the latest version is of another domain or system than the coming one."""
    latest = noted_versions(folder).get(name, {})
    for what in ("domain", "system"):
        if latest.get(what, about[what]) != about[what]:
            _log.warning(
                "%s: the latest version, from which servers answer, becomes one of %s; version %s "
                "is of %s",
                name,
                about[what],
                latest["version"],
                latest[what],
            )


def note_version(folder: Path, name: str, key: str, about: Mapping[str, Any] | None = None) -> None:
    """Notes of what the next version will be made.

    Before it is written, and it appears by a rename: a kill between the two leaves a note
    of a version that is not there, which is written again under the same number. Noted
    afterwards, a version that was whole would be written a second time.
    """
    from serving.saved_models import list_versions

    versions = noted_versions(folder)
    coming = max(list_versions(folder / name), default=0) + 1
    versions[name] = {"key": key, "version": str(coming), **(about or {})}
    write_json(folder / VERSIONS_FILE, versions)


def noted_versions(folder: Path) -> dict[str, dict[str, Any]]:
    """What each model's latest version was made of, by the model's name."""
    file = folder / VERSIONS_FILE
    found: dict[str, dict[str, Any]] = read_json(file) if file.is_file() else {}
    return found


def log_export(version: Path) -> None:
    """Says what has been written, and of a quantised one what that saves and costs."""
    from serving.saved_models import EXTRA_FOLDER, SIGNATURE_FILE

    _log.info("exported %s, version %s", version.parent.name, version.name)
    told = read_json(version / EXTRA_FOLDER / SIGNATURE_FILE)
    if "overlap_at_10" in told:
        _log.info(
            "%s: items take %s bytes as %s, not %s; of the top 10 of %s users %.4f stay",
            version.parent.name,
            f"{told['table_bytes']:,}",
            told["table"],
            f"{told['float32_table_bytes']:,}",
            f"{told['overlap_users']:,}",
            told["overlap_at_10"],
        )
