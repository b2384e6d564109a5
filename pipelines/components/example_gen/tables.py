"""Arrow tables as bytes between Beam's steps, and as files between its pipelines.

Between two steps a table is one element, keyed by its bucket, and not an element a row. Files are
written beside their place and renamed: a step that is repeated writes the same file again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from idp_tf.workflow.artifacts import read_json, write_json

__all__ = ["pack", "read_json", "read_table", "split", "unpack", "write_json", "write_table"]


def pack(table: pa.Table) -> bytes:
    """A table as bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def unpack(packed: Iterable[bytes]) -> pa.Table:
    """What ``pack`` was given, all of it in one table."""
    return pa.concat_tables(pa.ipc.open_stream(part).read_all() for part in packed)


def write_table(table: pa.Table, file: Path) -> None:
    """Writes a table; the file appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    os.replace(partial, file)


def read_table(file: Path) -> pa.Table:
    """A table that ``write_table`` wrote, mapped into memory."""
    return pa.ipc.open_file(pa.memory_map(str(file))).read_all()


def split(
    table: pa.Table, buckets: npt.NDArray[np.integer], num_buckets: int
) -> Iterator[tuple[int, bytes]]:
    """The rows of each bucket that has any, packed.

    Args:
        table: n rows.
        buckets: The bucket of each row, (n,).
        num_buckets: How many there are.
    """
    order = np.argsort(buckets, kind="stable")
    borders = np.searchsorted(buckets[order], np.arange(num_buckets + 1))
    for bucket in range(num_buckets):
        if borders[bucket] < borders[bucket + 1]:
            rows = order[borders[bucket] : borders[bucket + 1]]
            yield bucket, pack(table.take(rows))
