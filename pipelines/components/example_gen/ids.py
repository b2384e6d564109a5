"""Stages ``users`` and ``items``: all distinct ids, sorted, in ranges; an id's code is its rank.

Ranges are cut by a sample of ids. A worker holds the distinct ids of one table of rows, or those
of one range.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from idp_tf.data.schema import COLUMNS
from pipelines.components.example_gen.places import Places
from pipelines.components.example_gen.reading import ROW
from pipelines.components.example_gen.tables import (
    read_table,
    split,
    unpack,
    write_json,
    write_table,
)

SEEN: Final = "seen"
LISTED: Final = "listed"


def cut_ranges(samples: Iterable[str], num_ranges: int) -> list[str]:
    """The first ids of all ranges but the first one, ascending; fewer if ids are few."""
    ordered = sorted(set(samples), key=str.encode)
    cuts = np.linspace(0, len(ordered), num_ranges + 1)[1:-1].astype(int)
    return sorted({ordered[cut] for cut in cuts if cut > 0}, key=str.encode)


def ranges_of(ids: pa.ChunkedArray, cuts: Sequence[str]) -> npt.NDArray[np.int64]:
    """The range of each id, (n,)."""
    if not cuts:
        return np.zeros(len(ids), np.int64)
    # A cut is the first id of the range after it, so an id equal to it belongs there.
    found = pl.Series(cuts, dtype=pl.String).search_sorted(
        pl.Series(pl.from_arrow(ids)), side="right"
    )
    return found.to_numpy().astype(np.int64)


class DistinctIds(beam.DoFn):  # type: ignore[misc]
    """A table of interactions -> its distinct ids of a column, each with its first row."""

    def __init__(self, column: str, cuts: Sequence[str]):
        self.column = column
        self.cuts = list(cuts)

    def process(self, element: str) -> Iterator[tuple[int, bytes]]:
        """Reads one table."""
        rows = read_table(Path(element)).select([self.column, ROW])
        first = rows.group_by(self.column).aggregate([(ROW, "min")])
        first = first.rename_columns({self.column: self.column, f"{ROW}_min": ROW})
        yield from split(first, ranges_of(first[self.column], self.cuts), len(self.cuts) + 1)


class ListedItems(beam.DoFn):  # type: ignore[misc]
    """A table of items -> the same, by ranges."""

    def __init__(self, cuts: Sequence[str]):
        self.cuts = list(cuts)

    def process(self, element: str) -> Iterator[tuple[int, bytes]]:
        """Reads one table."""
        rows = read_table(Path(element))
        yield from split(rows, ranges_of(rows[COLUMNS.item_id], self.cuts), len(self.cuts) + 1)


class SortUsers(beam.DoFn):  # type: ignore[misc]
    """The ids of one range -> a sorted table."""

    def __init__(self, places: Places):
        self.places = places

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[int]:
        """Writes one range."""
        number, packed = element
        ids = pc.unique(unpack(packed)[COLUMNS.user_id])
        table = pa.table({COLUMNS.user_id: ids}).sort_by(COLUMNS.user_id)
        write_table(table, self.places.table("users", number))
        yield number


class SortItems(beam.DoFn):  # type: ignore[misc]
    """Listed and seen items of one range -> a sorted table of ids and titles, and what is odd."""

    def __init__(self, places: Places, keep_unknown: bool):
        self.places = places
        self.keep_unknown = keep_unknown

    def process(self, element: tuple[int, dict[str, Iterable[bytes]]]) -> Iterator[int]:
        """Writes one range."""
        number, groups = element
        listed = _frame(groups[LISTED], titled=True)
        seen = _frame(groups[SEEN]).group_by(COLUMNS.item_id).agg(pl.col(ROW).min())
        item = COLUMNS.item_id
        first = listed.sort(ROW).unique(item, keep="first", maintain_order=True)
        unknown = seen.join(first, on=item, how="anti").sort(ROW)
        kept = first.select(item, COLUMNS.title)
        if self.keep_unknown:
            untitled = unknown.select(item, pl.lit("").alias(COLUMNS.title))
            kept = pl.concat([kept, untitled])
        ordered = kept.sort(item).to_arrow(compat_level=pl.CompatLevel.oldest())
        write_table(ordered, self.places.table("items", number))
        known = seen.join(kept, on=item, how="semi").height
        write_json(
            self.places.summary("items", number),
            {
                "items": kept.height,
                "seen": known,
                "repeated": listed.height - first.height,
                "first repeated": _first_repeated(listed),
                "unknown": unknown.height,
                "first unknown": unknown.head(1).rows(),
            },
        )
        yield number


def _frame(packed: Iterable[bytes], *, titled: bool = False) -> pl.DataFrame:
    parts = list(packed)
    if parts:
        return pl.DataFrame(pl.from_arrow(unpack(parts)))
    schema: dict[str, Any] = {COLUMNS.item_id: pl.String}
    schema |= {COLUMNS.title: pl.String} if titled else {}
    return pl.DataFrame(schema=schema | {ROW: pl.Int64})


def _first_repeated(listed: pl.DataFrame) -> list[tuple[str, list[int]]]:
    """The first item id that has several rows, and these; none if there is none."""
    item = COLUMNS.item_id
    repeated = listed.filter(pl.col(item).is_duplicated()).sort(ROW)
    if not repeated.height:
        return []
    name = repeated[item][0]
    return [(name, repeated.filter(pl.col(item) == name)[ROW].to_list())]


class IdRanges:
    """Sorted ids in ranges: ids to codes and back, one range in memory at a time.

    Args:
        places: Where the ranges lie.
        stage: ``users`` or ``items``.
        column: The column of the ids.
    """

    def __init__(self, places: Places, stage: str, column: str):
        self.column = column
        self.files = sorted(places.stage(stage).glob("[0-9]*.arrow"))
        self.offsets = np.concatenate(
            [[0], np.cumsum([read_table(file).num_rows for file in self.files], dtype=np.int64)]
        )

    @property
    def size(self) -> int:
        """How many ids there are."""
        return int(self.offsets[-1])

    def codes(self, ids: pa.ChunkedArray) -> npt.NDArray[np.int32]:
        """The code of each id, (n,); -1 for an id that is not there."""
        codes = np.full(len(ids), -1, np.int32)
        for file, offset in zip(self.files, self.offsets, strict=False):
            found = pc.index_in(ids, value_set=read_table(file)[self.column])
            found = pc.fill_null(found, -1).to_numpy()
            codes[found >= 0] = found[found >= 0] + offset
        return codes

    def take(self, codes: npt.NDArray[np.integer]) -> pa.Table:
        """The rows (id, and title of items) of codes in ascending order, (n,)."""
        borders = np.searchsorted(codes, self.offsets)
        parts = [
            read_table(file).take(codes[first:last] - offset)
            for file, offset, first, last in zip(
                self.files, self.offsets, borders, borders[1:], strict=False
            )
        ]
        return pa.concat_tables(parts)
