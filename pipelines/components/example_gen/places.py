"""Where the stages of an execution leave their files, below its work folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from idp_tf.data.readers.detect import LAYOUTS, Layout
from pipelines.components.example_gen.tables import read_json, write_json


@dataclass(frozen=True)
class Places:
    """Paths below ``work``; picklable, so that workers have them.

    Args:
        work: The execution's work folder, on a disk that all workers share.
    """

    work: Path

    def stage(self, name: str) -> Path:
        """The folder of a stage."""
        return self.work / name

    def table(self, stage: str, number: int) -> Path:
        """A stage's table of one bucket."""
        return self.work / stage / f"{number:05d}.arrow"

    def summary(self, stage: str, number: int) -> Path:
        """What a stage counted in one bucket."""
        return self.work / stage / f"{number:05d}.json"

    def summaries(self, stage: str) -> list[dict[str, object]]:
        """All that a stage counted, in the order of its buckets."""
        return [read_json(file) for file in sorted(self.stage(stage).glob("[0-9]*.json"))]

    def is_done(self, stage: str) -> bool:
        """Whether a stage came to its end."""
        return (self.stage(stage) / "done.json").is_file()

    def finish(self, stage: str) -> None:
        """Says that a stage came to its end."""
        self.stage(stage).mkdir(parents=True, exist_ok=True)
        write_json(self.stage(stage) / "done.json", {})


def layout_of(form: str) -> Layout:
    """A layout by what it is called, since modules in it cannot travel to workers."""
    return next(layout for layout in LAYOUTS if layout.form == form)
