"""Which settings differ between the targets of a workdir."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def settings_notes(configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A note on the settings that are not every target's; none where all agree.

    Args:
        configs: Each target's config, as ``config.yaml`` holds it.

    Example:
        >>> settings_notes({"tea": {"settings": {"seed": 0}}, "pens": {"settings": {"seed": 1}}})
        ['Settings differ between targets: seed (0 for tea, 1 for pens).']
    """
    settings = {target: dict(_leaves(config["settings"])) for target, config in configs.items()}
    names = dict.fromkeys(name for found in settings.values() for name in found)
    differing = []
    for name in names:
        values = {target: json.dumps(found.get(name)) for target, found in settings.items()}
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{value} for {target}" for target, value in values.items())
            differing.append(f"{name} ({listed})")
    return [f"Settings differ between targets: {'; '.join(differing)}."] if differing else []


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{name}.{key}" if name else key)
