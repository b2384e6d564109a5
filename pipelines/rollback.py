"""Back to an earlier version: of what servers read, and of what the next run builds on."""

from __future__ import annotations

from pathlib import Path

from pipelines.record import Record
from pipelines.root import locked
from pipelines.versions import RolledBack, rollback, rollbacks


def roll_back(root: Path, model: str, *, to: int | None = None, why: str = "") -> RolledBack:
    """Makes an earlier version of a pushed model the latest, and the record pass over later ones.

    Args:
        root: The pipeline's root.
        model: The model's name.
        to: The version; the one before the latest by default.
        why: For the record.

    Raises:
        WorkdirError: if there is no such version, or a run is at work.
    """
    destination = root / "serving" / model
    with locked(root), Record(root, read_only=True) as record:
        done = rollback(destination, to=to, why=why)
        record.set_rolled_back(str(one["fingerprint"]) for one in rollbacks(destination))
    return done
