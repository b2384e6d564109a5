"""The default pipeline over the tiny world, with settings that make it short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipelines.record import Record
from tests.tiny_world import SOURCES, TARGET, overrides

ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
"""With one thread TensorFlow adds up in one order, and trains to the same bits."""


def add_a_day(data: Path) -> None:
    """Every fifth user of the target comes back for an item of some other user's."""
    file = data / TARGET / f"{TARGET}.inter"
    header, *rows = file.read_text(encoding="utf-8").splitlines()
    fields = [row.split("\t") for row in rows]
    last = max(float(time) for *_, time in fields)
    users = sorted({user for user, *_ in fields})[::5]
    new = [f"{user}\t{fields[7 * n][1]}\t{last + n + 1:.0f}" for n, user in enumerate(users)]
    file.write_text("\n".join([header, *rows, *new]) + "\n", encoding="utf-8")


def fingerprints(root: Path) -> dict[str, str]:
    """Of every artifact of the last run, by its node and output.

    But for what the Pusher says: it names the folder and the moment of the push.
    """
    with Record(root, read_only=True) as record:
        return {
            f"{one.node_id}.{name}": artifact.fingerprint
            for one in record.executions(record.runs()[-1].id)
            if one.node_id != "Pusher"
            for name, artifacts in record.outputs(one.id).items()
            for artifact in artifacts
        }


def write_config(folder: Path, encoder: Path, **changes: Any) -> Path:
    """Writes a YAML file for ``python -m pipelines.run``; ``changes`` are its top-level keys."""
    settings: dict[str, Any] = {}
    for pair in overrides(encoder):
        key, _, value = pair.partition("=")
        section, _, name = key.partition(".")
        settings.setdefault(section, {})[name] = yaml.safe_load(value)
    content = {
        "data": str(folder / "data"),
        "root": str(folder / "root"),
        "sources": list(SOURCES),
        "target": TARGET,
        "preset": "quick",
        "settings": settings,
        "evaluator": {"min_users": 10},
        **changes,
    }
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file
