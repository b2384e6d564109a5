"""What the components that judge leave behind: a mark in an empty file, and the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from idp_tf.workflow.artifacts import read_json, write_json

BLESSED: Final = "BLESSED"
NOT_BLESSED: Final = "NOT_BLESSED"
INFRA_BLESSED: Final = "INFRA_BLESSED"
INFRA_NOT_BLESSED: Final = "INFRA_NOT_BLESSED"
REASONS_FILE: Final = "reasons.json"


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Args:
        name: Which, such as ``full NDCG@10 against the baseline``.
        value: What was found; None where there was nothing to measure.
        threshold: The least (or most) that passes; None where there is none.
        passed: Whether it passed. What could not be checked, such as a first model against a
            baseline, passes and says so in words.
        words: The whole of it in a sentence.
    """

    name: str
    value: float | None
    threshold: float | None
    passed: bool
    words: str


def write_verdict(
    folder: Path, checks: Sequence[Check], marks: tuple[str, str], notes: Sequence[str] = ()
) -> bool:
    """Writes the mark and ``reasons.json``; the mark comes last.

    Args:
        folder: An existing folder.
        checks: What was checked.
        marks: Names of the empty file if all passed, and if one did not.
        notes: What else a reader should know.

    Returns:
        Whether all passed.
    """
    passed = all(check.passed for check in checks)
    content: dict[str, Any] = {
        "blessed": passed,
        "checks": [asdict(check) for check in checks],
        "notes": list(notes),
    }
    write_json(folder / REASONS_FILE, content)
    (folder / marks[0 if passed else 1]).touch()
    return passed


def read_failures(folder: Path) -> list[str]:
    """In words, the checks of a verdict that did not pass.

    Raises:
        WorkdirError: if the reasons cannot be read.
    """
    checks = read_json(folder / REASONS_FILE)["checks"]
    return [check["words"] for check in checks if not check["passed"]]
