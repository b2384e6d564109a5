"""Ids of all blocks to codes: positions among the sorted distinct ids, each range by itself.

Blocks have their ids sorted, so that a range of them is a slice of a mapped file. Codes are
those of the in-memory preparation, whose order of users and items is that of their ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from idp_tf.data.schema import COLUMNS
from pipelines.components.example_gen.arrow_files import range_of, read_part, write_parts
from pipelines.components.example_gen.reading import block_file
from pipelines.components.example_gen.tasks import Stats, Task

IDS: Final = "ids.arrow"
Blocks = tuple[tuple[str, int], ...]
"""Blocks by the folder in which they lie and their number in it."""
_SHOWN: Final = 6


@dataclass(frozen=True)
class Coded:
    """Sorted ids of all ranges, in one folder for each.

    Args:
        folders: The folders, in the order of the ranges.
        cuts: Where ranges begin; see ``borders``.
        sizes: How many ids each has.
    """

    folders: tuple[str, ...]
    cuts: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """The code of each range's first id, and, at the end, how many ids there are."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    def codes(self, ids: pa.Array) -> npt.NDArray[np.int32]:
        """Codes of sorted ids, -1 where one is unknown; holds one range at a time."""
        found = np.full(len(ids), -1, np.int32)
        for number, folder in enumerate(self.folders):
            at = range_of(ids, self.cuts, number)
            if at.start < at.stop:
                known = read_part(Path(folder) / IDS).column("id")
                places = pc.index_in(ids[at], value_set=known)
                codes = pc.fill_null(pc.add(places, int(self.offsets[number])), -1)
                found[at] = codes.to_numpy(zero_copy_only=False)
        return found

    def texts(self, codes: npt.NDArray[np.integer[Any]]) -> pa.Array:
        """Ids of ascending codes; holds those, and maps one range at a time."""
        ends = np.searchsorted(codes, self.offsets)
        parts = [
            read_part(Path(folder) / IDS).column("id").take(pa.array(codes[a:b] - offset))
            for folder, offset, a, b in zip(
                self.folders, self.offsets, ends[:-1], ends[1:], strict=False
            )
        ]
        return pa.concat_arrays(parts)


NOTHING: Final = Coded((), (), ())


@dataclass(frozen=True)
class SortItems(Task):
    """A range of items: ids and titles, sorted; holds what all blocks have of the range.

    Args:
        blocks: The blocks of interactions.
        item_blocks: The blocks of items.
        cuts: Where ranges begin.
        untitled: Whether items that only interactions name are items too.
    """

    blocks: Blocks = ()
    item_blocks: Blocks = ()
    cuts: tuple[str, ...] = ()
    untitled: bool = False

    def make(self, folder: Path) -> Stats:
        """Sorts the range's items; says which stand there twice, and how many are unknown."""
        listed = pl.concat([self._part(block) for block in self.item_blocks])
        listed = listed.sort("id", "place")
        twice = listed.filter(listed["id"].is_duplicated())
        known = listed.unique("id", keep="first", maintain_order=True).select("id", "title")
        used = sorted_ids(self.blocks, "items", self.cuts, self.number)
        unknown = used.filter(~used.is_in(known["id"].implode()))
        if self.untitled:
            more = pl.DataFrame({"id": unknown}).with_columns(title=pl.lit(""))
            known = pl.concat([known, more]).sort("id")
        batch = pa.RecordBatch.from_arrays(
            [_arrow(known["id"]), _arrow(known["title"])], names=["id", "title"]
        )
        write_parts(folder / IDS, [batch])
        return {
            "items": known.height,
            "repeated": listed.height - listed["id"].n_unique(),
            "repeated ids": twice["id"].n_unique(),
            "first repeated": _first_repeated(twice),
            "unknown": len(unknown),
        }

    def _part(self, block: tuple[str, int]) -> pl.DataFrame:
        batch = read_part(block_file(block[0], "items", block[1]))
        at = range_of(batch.column("id"), self.cuts, self.number)
        frame = pl.from_arrow(batch.slice(at.start, at.stop - at.start))
        assert isinstance(frame, pl.DataFrame)
        return frame


@dataclass(frozen=True)
class CodeItems(Task):
    """A block with items as codes, rows of unknown items dropped; holds the block.

    Args:
        block: The block.
        items: All items.
    """

    block: tuple[str, int] = ("", 0)
    items: Coded = NOTHING

    def make(self, folder: Path) -> Stats:
        """Writes the rows, and the ids of the users who still have some."""
        rows = read_part(block_file(self.block[0], "rows", self.block[1]))
        ids = read_part(block_file(self.block[0], "items", self.block[1])).column("id")
        codes = self.items.codes(ids)[rows.column("item").to_numpy()]
        known = codes >= 0
        kept = rows.set_column(1, "item", pa.array(codes)).filter(pa.array(known))
        users, positions = np.unique(kept.column("user").to_numpy(), return_inverse=True)
        kept = kept.set_column(0, "user", pa.array(positions.astype(np.int32)))
        user_ids = read_part(block_file(self.block[0], "users", self.block[1])).column("id")
        names = pa.RecordBatch.from_arrays([user_ids.take(pa.array(users))], names=["id"])
        write_parts(block_file(folder, "rows", 0), [kept])
        write_parts(block_file(folder, "users", 0), [names])
        return {
            "rows": kept.num_rows,
            "without time": kept.column("time").null_count,
            "unknown": int(np.count_nonzero(~known)),
            "first unknown": _first_unknown(rows, ids, known),
        }


@dataclass(frozen=True)
class SortUsers(Task):
    """A range of users: their ids, sorted; holds what all blocks have of the range.

    Args:
        blocks: The blocks.
        cuts: Where ranges begin.
    """

    blocks: Blocks = ()
    cuts: tuple[str, ...] = ()

    def make(self, folder: Path) -> Stats:
        """Sorts the range's users."""
        users = sorted_ids(self.blocks, "users", self.cuts, self.number)
        write_parts(folder / IDS, [pa.RecordBatch.from_arrays([_arrow(users)], names=["id"])])
        return {"users": len(users)}


def sorted_ids(blocks: Blocks, what: str, cuts: Sequence[str], number: int) -> pl.Series:
    """The distinct ids of a range, ascending."""
    parts = []
    for folder, block in blocks:
        ids = read_part(block_file(folder, what, block)).column("id")
        parts.append(ids[range_of(ids, cuts, number)])
    joined = pl.from_arrow(pa.chunked_array(parts, pa.large_string()))
    assert isinstance(joined, pl.Series)
    return joined.unique().sort()


def _first_repeated(twice: pl.DataFrame) -> dict[str, Any] | None:
    """The repeated item that stands first, and where it stands."""
    if not twice.height:
        return None
    item = twice.sort("place")["id"][0]
    places = twice.filter(twice["id"] == item)["place"]
    return {COLUMNS.item_id: item, "places": places.head(_SHOWN).to_list()}


def _first_unknown(
    rows: pa.RecordBatch, ids: pa.Array, known: npt.NDArray[np.bool_]
) -> dict[str, Any] | None:
    unknown = np.flatnonzero(~known)
    if not unknown.size:
        return None
    row = int(unknown[0])
    item = ids[rows.column("item")[row].as_py()].as_py()
    return {COLUMNS.item_id: item, "place": rows.column("place")[row].as_py()}


def _arrow(texts: pl.Series) -> pa.Array:
    array = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    return array.cast(pa.large_string())
