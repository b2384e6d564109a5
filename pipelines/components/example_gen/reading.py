"""Stage ``read``: files of any format to Arrow tables of rows, a table for each block.

A worker holds one block of a file, some 16 MiB of text; of CSV and Parquet tables, a whole file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa

from idp_tf.data.readers.bad_rows import LINE, SetAside
from idp_tf.data.readers.raw import ReadOptions
from idp_tf.data.schema import COLUMNS
from pipelines.components.example_gen.places import Places, layout_of
from pipelines.components.example_gen.tables import write_json, write_table

ROW: Final = "row"
"""The place of a row in all files together: ascending, and the same on every runner."""
_FILE_SHIFT: Final = 40
_SAMPLED: Final = 256


@dataclass(frozen=True)
class InputFile:
    """A file to read.

    Args:
        number: Its place among all files of its kind.
        kind: Whether it holds interactions or items.
        path: Where it lies.
    """

    number: int
    kind: Literal["interactions", "items"]
    path: Path


def place_of(row: int) -> tuple[int, int]:
    """The number of the file and the line of a ``row``."""
    return row >> _FILE_SHIFT, row & ((1 << _FILE_SHIFT) - 1)


class ReadFile(beam.DoFn):  # type: ignore[misc]
    """A file -> its blocks, written as tables, and a summary with a sample of ids and bad rows."""

    def __init__(self, places: Places, form: str, options: ReadOptions):
        self.places = places
        self.form = form
        self.options = options

    def process(self, element: InputFile) -> Iterator[Any]:
        """Reads one file, unless a killed run has read it whole."""
        stage = f"read-{element.kind}"
        summary = self.places.summary(stage, element.number)
        if not summary.is_file():
            write_json(summary, self._read(element, stage))
        yield element.number

    def _read(self, element: InputFile, stage: str) -> dict[str, Any]:
        bad = SetAside()
        options = replace(self.options, bad_rows=bad)
        blocks = getattr(layout_of(self.form).blocks, element.kind)(element.path, options)
        tables, rows = [], 0
        samples: dict[str, list[str]] = {COLUMNS.user_id: [], COLUMNS.item_id: []}
        for number, block in enumerate(blocks):
            if not block.height:
                continue
            file = self.places.stage(stage) / f"{element.number:05d}-{number:05d}.arrow"
            write_table(_numbered(block, element.number), file)
            tables.append(file.name)
            rows += block.height
            for column in samples.keys() & set(block.columns):
                samples[column] += _sample(block[column])
        found = [asdict(row) for row in bad.rows]
        return {"tables": tables, "rows": rows, "samples": samples, "bad": found}


def _numbered(block: pl.DataFrame, file: int) -> pa.Table:
    row = (pl.col(LINE).cast(pl.Int64) + (file << _FILE_SHIFT)).alias(ROW)
    return block.with_columns(row).drop(LINE).to_arrow(compat_level=pl.CompatLevel.oldest())


def _sample(ids: pl.Series) -> list[str]:
    """Ids at even distances, by which ranges of ids are cut."""
    distinct = ids.unique().sort()
    places = np.linspace(0, len(distinct) - 1, min(_SAMPLED, len(distinct))).astype(int)
    return list(distinct.gather(places))
