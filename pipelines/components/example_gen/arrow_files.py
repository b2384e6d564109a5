"""Arrow tables in files: whole or in parts, of which a reader maps only those that it needs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def write_parts(file: Path, parts: Sequence[pa.RecordBatch]) -> None:
    """Writes record batches of one schema, each to be read by its number."""
    with pa.ipc.new_file(str(file), parts[0].schema) as writer:
        for part in parts:
            writer.write_batch(part)


def read_part(file: Path, number: int = 0) -> pa.RecordBatch:
    """Maps one record batch of a file; nothing is read before it is used."""
    return pa.ipc.open_file(pa.memory_map(str(file))).get_batch(number)


def split(batch: pa.RecordBatch, parts: npt.NDArray[Any], count: int) -> list[pa.RecordBatch]:
    """Divides the rows of a batch, those of one part in their old order.

    Args:
        batch: The rows.
        parts: The part of each row, (num_rows,), from 0.
        count: How many parts there are; some may get no row.
    """
    order = np.argsort(parts, kind="stable")
    ends = np.searchsorted(parts[order], np.arange(count), side="right")
    ordered = batch.take(pa.array(order))
    starts = [0, *ends[:-1].tolist()]
    return [ordered.slice(a, b - a) for a, b in zip(starts, ends.tolist(), strict=True)]


def borders(sample: Sequence[str], count: int) -> list[str]:
    """Texts at which sorted ids are cut, so that about as many of a sample fall into each range.

    Args:
        sample: Ids, as often as they weigh.
        count: How many ranges are wanted; fewer if ids of the sample are too often the same.

    Returns:
        At most ``count - 1`` texts, ascending; a range begins with its border.
    """
    ordered = sorted(sample)
    found = [ordered[len(ordered) * i // count] for i in range(1, count)] if ordered else []
    return sorted(set(found) - {""} - {*ordered[:1]})


def range_of(ids: pa.Array, cuts: Sequence[str], number: int) -> slice:
    """Where sorted ids of a range stand.

    Args:
        ids: Ids, ascending as UTF-8.
        cuts: What ``borders`` gave.
        number: The range, from 0.
    """
    first = _position(ids, cuts[number - 1]) if number else 0
    last = _position(ids, cuts[number]) if number < len(cuts) else len(ids)
    return slice(first, last)


def _position(ids: pa.Array, text: str) -> int:
    return bisect_left(ids, text.encode(), key=lambda found: found.as_py().encode())
