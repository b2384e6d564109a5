"""The last step: buckets and ranges of items to TFRecords, and what the hashes are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from idp_tf.data.examples import INTERNAL_ID, ITEM_ID, TITLE, item_schema
from idp_tf.data.filters import Interactions
from idp_tf.data.prepare import Ties, in_order, tied_counts
from idp_tf.data.sequences import LEAVE_OUT_TRAIN
from pipelines.components.example_gen.arrow_files import read_part, write_parts
from pipelines.components.example_gen.encoding import encoded_steps, encoded_users
from pipelines.components.example_gen.ids import IDS, NOTHING, Coded
from pipelines.components.example_gen.rows import read_bucket, read_counts
from pipelines.components.example_gen.tasks import Stats, Task

KEPT: Final = "kept.arrow"
_BLOCK: Final = 2**16


@dataclass(frozen=True)
class WriteItems(Task):
    """The items of a range that are left, as Examples; holds the range.

    Args:
        items: The folder of the range's ids and titles.
        counts: The folder of its counts.
        first_id: The internal id of its first item that is left.
    """

    items: str = ""
    counts: str = ""
    first_id: int = 1

    def make(self, folder: Path) -> Stats:
        """Writes ``all.gz``, and ids and titles for the hash."""
        left = pa.array(read_counts(self.counts) > 0)
        table = read_part(Path(self.items) / IDS).filter(left)
        write_parts(folder / KEPT, [table])
        write_records(folder / "all.gz", self._records(table))
        empty = sum(not title for title in table.column("title").to_pylist())
        return {"items": table.num_rows, "untitled": empty, "counters": {"items": table.num_rows}}

    def _records(self, table: pa.RecordBatch) -> Iterable[bytes]:
        from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

        encoder = RecordBatchToExamplesEncoder(item_schema())
        for begin in range(0, table.num_rows, _BLOCK):
            part = table.slice(begin, _BLOCK)
            internal = np.arange(part.num_rows, dtype=np.int64) + self.first_id + begin
            columns = {
                ITEM_ID: part.column("id").cast(pa.large_binary()),
                INTERNAL_ID: pa.array(internal),
                TITLE: part.column("title").cast(pa.large_binary()),
            }
            yield from encoder.encode(pa.RecordBatch.from_pydict(_as_lists(columns)))


@dataclass(frozen=True)
class WriteUsers(Task):
    """The users of a bucket as SequenceExamples; holds the bucket and its records.

    Args:
        bucket: The bucket's folder.
        users: All users.
        items: All items.
        counts: The folders of the items' counts, in the order of their ranges.
        ties: How interactions of the same time are ordered.
        seed: The seed of that.
    """

    bucket: str = ""
    users: Coded = NOTHING
    items: Coded = NOTHING
    counts: tuple[str, ...] = ()
    ties: Ties = "random"
    seed: int = 0

    def make(self, folder: Path) -> Stats:
        """Writes ``train.gz`` and ``eval.gz``, and sequences and users for the hash."""
        rows = in_order(
            read_bucket(self.bucket),
            self.ties,
            self.seed,
            lambda codes: self.users.texts(codes).to_pylist(),
            lambda codes: self.items.texts(codes).to_pylist(),
        )
        codes, lengths = np.unique(rows.users, return_counts=True)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        user_ids = self.users.texts(codes)
        users = pa.RecordBatch.from_arrays([user_ids, pa.array(lengths)], names=["id", "length"])
        write_parts(folder / KEPT, [users])
        np.save(folder / "values.npy", self._internal(rows))
        self._write_splits(folder, rows, user_ids, offsets)
        tied, last = tied_counts(rows, offsets[1:] - 1) if len(codes) else (0, 0)
        found = {"users": len(codes), "interactions": len(rows.users)}
        return {**found, "tied": tied, "tied last": last, "counters": found}

    def _write_splits(
        self, folder: Path, rows: Interactions, user_ids: pa.Array, offsets: npt.NDArray[np.int64]
    ) -> None:
        if not len(user_ids):
            for split in ("train", "eval"):
                write_records(folder / f"{split}.gz", [])
            return
        items, places = np.unique(rows.items, return_inverse=True)
        steps = encoded_steps(self.items.texts(items)).take(pa.array(places))
        _write_arrow(folder / "eval.gz", encoded_users(user_ids, steps, offsets))
        positions = np.arange(len(rows.users)) - np.repeat(offsets[:-1], np.diff(offsets))
        shown = positions < np.repeat(np.diff(offsets) - LEAVE_OUT_TRAIN, np.diff(offsets))
        fewer = offsets - LEAVE_OUT_TRAIN * np.arange(len(offsets))
        _write_arrow(
            folder / "train.gz", encoded_users(user_ids, steps.filter(pa.array(shown)), fewer)
        )

    def _internal(self, rows: Interactions) -> npt.NDArray[np.int32]:
        """Internal ids: numbers of the items that are left; holds one range at a time."""
        internal = np.zeros(len(rows.items), np.int32)
        ranges = np.searchsorted(self.items.offsets[1:], rows.items, side="right")
        before = 0
        for number, folder in enumerate(self.counts):
            numbers = np.cumsum(read_counts(folder) > 0) + before
            own = ranges == number
            internal[own] = numbers[rows.items[own] - self.items.offsets[number]]
            before = int(numbers[-1]) if len(numbers) else before
        return internal


def write_records(file: Path, records: Iterable[bytes]) -> None:
    """Writes a gzipped TFRecord file."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for record in records:
            writer.write(record)


def _write_arrow(file: Path, records: pa.Array) -> None:
    blocks = (records[begin : begin + _BLOCK] for begin in range(0, len(records), _BLOCK))
    write_records(file, (record for block in blocks for record in block.to_pylist()))


def _as_lists(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns of one value a record, as tfx-bsl wants them."""
    return {
        name: pa.LargeListArray.from_arrays(pa.array(np.arange(len(values) + 1)), values)
        for name, values in columns.items()
    }
