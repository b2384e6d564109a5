"""What servers read, and back to an earlier version of it and of what the next run builds on."""

from __future__ import annotations

from pathlib import Path

from idp_tf.errors import WorkdirError
from pipelines.record import Record
from pipelines.root import locked
from pipelines.versions import RECORD, RolledBack, list_pushed, rollback, rollbacks


def roll_back(root: Path, *, to: int | None = None, why: str = "") -> RolledBack:
    """Makes an earlier version of the pushed model the latest, and the record pass over later ones.

    Versions are those of the folder to which the last run's Pusher pushes.

    Args:
        root: The pipeline's root.
        to: The version; the one before the latest by default.
        why: For the record.

    Raises:
        WorkdirError: if there is no such version, or a run is at work.
    """
    with locked(root), Record(root, read_only=True) as record:
        destination = _destination(record, root)
        done = rollback(destination, to=to, why=why)
        mark_rolled_back(record, destination)
    return done


def mark_rolled_back(record: Record, destination: Path) -> None:
    """Has the record pass over what was rolled back in a folder of versions, and nothing else."""
    record.set_rolled_back(str(one["fingerprint"]) for one in rollbacks(destination))


def served_items(root: Path) -> Path:
    """The table of items and titles of the version that is served.

    Args:
        root: The pipeline's root.

    Raises:
        WorkdirError: if nothing is.
    """
    with Record(root, read_only=True) as record:
        destination = _destination(record, root)
    if not (versions := list_pushed(destination)):
        raise WorkdirError("no version is served from here", where=destination)
    return destination / str(versions[-1]) / RECORD.with_name("items.parquet")


def _destination(record: Record, root: Path) -> Path:
    pushing = record.last_used("Pusher")
    if pushing is None:
        raise WorkdirError("no run has come to its Pusher here yet", where=root)
    (pushed,) = record.outputs(pushing.id)["pushed_model"]
    return Path(pushed.properties["destination"])
