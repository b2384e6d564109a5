"""What a run came to: whether the model was pushed, and what the checks said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipelines.artifacts import PUSHED_MODEL, Artifact
from pipelines.lineage import Step

WORDS: Final = {
    "pushed": "Pushed",
    "already": "Pushed already",
    "no": "Not pushed",
    "": "Not pushed: it did not come to the Pusher",
}
"""Whether a run pushed its model, in words."""


@dataclass(frozen=True)
class Judged:
    """A component's checks.

    Args:
        node_id: The component.
        failed: What did not pass, in words.
        passed: What did.
        notes: What else it says.
    """

    node_id: str
    failed: Sequence[str]
    passed: Sequence[str]
    notes: Sequence[str]


def pushing(pushed: Artifact | None, *, reused: bool) -> str:
    """``pushed`` by this run, pushed ``already``, ``no``, or empty if it did not come so far."""
    if pushed is None:
        return ""
    if not pushed.properties.get("pushed"):
        return "no"
    return "already" if reused or pushed.properties.get("outcome") == "kept" else "pushed"


def verdict(steps: Sequence[Step]) -> list[str]:
    """First whether the model was pushed, and as which version; then why."""
    step, pushed = next(
        ((s, a) for s in steps for a in s.artifacts if a.type == PUSHED_MODEL), (None, None)
    )
    word = pushing(pushed, reused=step is not None and step.state == "reused")
    if pushed is None:
        return [f"{WORDS[word]}. What was pushed before stays."]
    if word != "no":
        version = pushed.properties.get("version")
        later = ", the latest; nothing was copied"
        return [f"{WORDS[word]}: version {version}{later if word == 'already' else ''}."]
    why: list[str] = _read(pushed.uri / "pushed.json").get("why", [])
    return [f"{WORDS[word]}. What was pushed before stays. Why:", *why]


def judged(steps: Sequence[Step]) -> list[Judged]:
    """The components that judge, in their order."""
    found = [(s.node_id, _read(a.uri / "reasons.json")) for s in steps for a in s.artifacts]
    return [
        Judged(
            node_id,
            [check["words"] for check in content["checks"] if not check["passed"]],
            [check["words"] for check in content["checks"] if check["passed"]],
            content.get("notes", []),
        )
        for node_id, content in found
        if content
    ]


def counted(steps: Sequence[Step], left: int = 0) -> str:
    """How many components ran, were reused, failed, and were not begun."""
    states = [step.state for step in steps]
    told = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return ", ".join([*told, *([f"{left} not begun"] if left else [])])


def _read(file: Path) -> dict[str, Any]:
    """A file of JSON; nothing if there is none, as where an artifact was removed."""
    if not file.is_file():
        return {}
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
