"""A component on any runner, and what it made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from domain_artifacts import run, titled, write_examples, write_items

from pipelines.components.statistics_gen import StatisticsGen

TITLES = {f"i{n}": f"{('Tea', 'Pot', 'Lamp', 'Desk')[n % 4]} number {n}" for n in range(30)}
HISTORIES = {f"u{n}": [f"i{(n * k + k) % 30}" for k in range(3 + n % 6)] for n in range(40)}


def statistics(folder: Path, beam_args: Sequence[str] = ()) -> dict[str, bytes]:
    """Every file of StatisticsGen's output."""
    inputs = {
        "examples": write_examples(folder / "examples", HISTORIES),
        "items": write_items(folder / "items", titled(TITLES)),
    }
    run(StatisticsGen(), folder, inputs, beam_args)
    out = folder / "statistics"
    return {str(f.relative_to(out)): f.read_bytes() for f in out.rglob("*") if f.is_file()}
