"""The default pipeline over the tiny world, with settings that make it short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.tiny_world import SOURCES, TARGET, overrides


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
