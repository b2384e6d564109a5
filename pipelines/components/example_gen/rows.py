"""Rows of numbers, by user: from blocks of the input to buckets of whole users.

A bucket is a range of users. Its rows lie in ``rows.arrow``, and beside them in ``counts.arrow``, a
part for each range of items, how often each item stands in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from idp_tf.data.filters import Interactions, first_of_repeated
from idp_tf.errors import DataError
from pipelines.beam_memory import available_memory
from pipelines.components.example_gen.arrow_files import read_part, split, write_parts
from pipelines.components.example_gen.ids import NOTHING, Coded
from pipelines.components.example_gen.reading import block_file
from pipelines.components.example_gen.tasks import Stats, Task

BYTES_PER_ROW: Final = 500
"""What a worker holds at most for each interaction of a bucket; measured."""
ROWS: Final = "rows.arrow"
COUNTS: Final = "counts.arrow"


@dataclass(frozen=True)
class CodeUsers(Task):
    """A block with users as codes, in a part for each bucket; holds the block.

    Args:
        block: The folder of the block.
        users: All users; a bucket is one of their ranges.
    """

    block: str = ""
    users: Coded = NOTHING

    def make(self, folder: Path) -> Stats:
        """Writes the parts."""
        rows = read_part(block_file(self.block, "rows", 0))
        ids = read_part(block_file(self.block, "users", 0)).column("id")
        codes = self.users.codes(ids)[rows.column("user").to_numpy()]
        rows = rows.set_column(0, "user", pa.array(codes))
        bucket = np.searchsorted(self.users.offsets[1:], codes, side="right")
        write_parts(folder / ROWS, split(rows, bucket, self.buckets))
        return {"rows": rows.num_rows}


@dataclass(frozen=True)
class GatherBucket(Task):
    """A bucket, repeated rows dropped; holds the bucket.

    Args:
        minima: The least interactions of a user, in each of the filters that follow.
        item_offsets: The code of the first item of each range.
        workers: How many workers share a machine's memory.
    """

    minima: tuple[int, ...] = ()
    item_offsets: tuple[int, ...] = ()
    workers: int = 1

    def make(self, folder: Path) -> Stats:
        """Reads the bucket's part of each block, and writes the bucket."""
        parts = [read_part(Path(source) / ROWS, self.number) for source in self.sources]
        total = sum(part.num_rows for part in parts)
        most = available_memory() // self.workers // BYTES_PER_ROW
        if total > most:
            raise _too_large(total, most)
        rows = as_interactions(pa.Table.from_batches(parts))
        kept = rows.take(first_of_repeated(rows))
        stats = write_bucket(kept, folder, self.minima, self.item_offsets)
        repeated = total - stats["interactions"]
        return {**stats, "rows": total, "counters": {"rows dropped: repeated rows": repeated}}


@dataclass(frozen=True)
class DropFromBucket(Task):
    """A bucket without what has too few interactions; holds the bucket and a bit for each item.

    Args:
        before: The bucket's folder.
        counts: The folders of the items' counts, in the order of their ranges.
        user_minimum: Least interactions of a user.
        item_minimum: Least interactions of an item.
        minima: As for ``GatherBucket``.
        item_offsets: As for ``GatherBucket``.
    """

    before: str = ""
    counts: tuple[str, ...] = ()
    user_minimum: int = 1
    item_minimum: int = 1
    minima: tuple[int, ...] = ()
    item_offsets: tuple[int, ...] = ()

    def make(self, folder: Path) -> Stats:
        """One round of dropping, of users and items at the same time."""
        rows = read_bucket(self.before)
        first = int(rows.users.min(initial=0))
        lengths = np.bincount(rows.users - first)
        frequent = np.concatenate([read_counts(f) >= self.item_minimum for f in self.counts])
        enough = (lengths[rows.users - first] >= self.user_minimum) & frequent[rows.items]
        return write_bucket(rows.take(enough), folder, self.minima, self.item_offsets)


@dataclass(frozen=True)
class SumCounts(Task):
    """How often each item of a range stands in all buckets; holds the range's counts.

    Args:
        sizes: How many items each range has.
        item_offsets: As for ``GatherBucket``.
        minimum: Least interactions of an item.
    """

    sizes: tuple[int, ...] = ()
    item_offsets: tuple[int, ...] = ()
    minimum: int = 1

    def make(self, folder: Path) -> Stats:
        """Adds up the buckets' counts."""
        total = np.zeros(self.sizes[self.number], np.int64)
        for source in self.sources:
            part = read_part(Path(source) / COUNTS, self.number)
            at = part.column("item").to_numpy() - self.item_offsets[self.number]
            total[at] += part.column("count").to_numpy()
        np.save(folder / "counts.npy", total)
        return {
            "items": int(np.count_nonzero(total)),
            "below": int(np.count_nonzero((total > 0) & (total < self.minimum))),
        }


def read_counts(folder: str | Path) -> npt.NDArray[np.int64]:
    """What ``SumCounts`` wrote: interactions of each item of a range."""
    counts: npt.NDArray[np.int64] = np.load(Path(folder) / "counts.npy")
    return counts


def read_bucket(folder: str | Path) -> Interactions:
    """A bucket's rows."""
    return as_interactions(pa.Table.from_batches([read_part(Path(folder) / ROWS)]))


def write_bucket(
    rows: Interactions, folder: Path, minima: Sequence[int], item_offsets: Sequence[int]
) -> Stats:
    """Writes a bucket and its counts of items."""
    columns = [pa.array(c) for c in (rows.users, rows.items, rows.times, rows.rows)]
    batch = pa.RecordBatch.from_arrays(columns, names=["user", "item", "time", "place"])
    write_parts(folder / ROWS, [batch])
    items, counts = np.unique(rows.items, return_counts=True)
    ranges = np.searchsorted(np.asarray(item_offsets[1:]), items, side="right")
    found = pa.RecordBatch.from_arrays([pa.array(items), pa.array(counts)], names=["item", "count"])
    write_parts(folder / COUNTS, split(found, ranges, len(item_offsets)))
    lengths = np.unique(rows.users, return_counts=True)[1]
    return {
        "users": len(lengths),
        "interactions": len(rows.users),
        "below": [int(np.count_nonzero(lengths < minimum)) for minimum in minima],
    }


def as_interactions(table: pa.Table) -> Interactions:
    """Columns as NumPy arrays; a time that is missing is 0."""
    times = pc.fill_null(table["time"], 0.0)
    return Interactions(*(column(c) for c in (table["user"], table["item"], times, table["place"])))


def column(values: Any) -> npt.NDArray[Any]:
    """A column as an array of its own."""
    return np.asarray(values.to_numpy())


def _too_large(rows: int, most: int) -> DataError:
    return DataError(
        f"{rows} interactions are of users whose ids lie beside each other, and {most} fit into"
        " the memory that is free; a single user can have so many only as a machine",
        remedy="set rows_per_bucket lower, leave out such a user, or give workers more memory",
    )
