"""Stage ``coded``: rows to numbers, in buckets of users, repeated rows dropped.

From here on an interaction is 24 bytes: the codes of user and item, the time and the row. A bucket
is a range of codes. A worker holds one table of rows and one range of ids, or one bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from idp_tf.data.filters import Interactions, first_of_repeated
from idp_tf.data.schema import COLUMNS
from pipelines.components.example_gen.ids import IdRanges
from pipelines.components.example_gen.places import Places
from pipelines.components.example_gen.reading import ROW
from pipelines.components.example_gen.tables import (
    read_table,
    split,
    unpack,
    write_json,
    write_table,
)

CODED: Final = "coded"


@dataclass(frozen=True)
class Buckets:
    """How codes are cut into buckets of equal ranges.

    Args:
        num_codes: Codes are 0 … num_codes - 1.
        count: How many buckets there are.
    """

    num_codes: int
    count: int

    def of(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """The bucket of each code, (n,)."""
        return codes.astype(np.int64) * self.count // max(self.num_codes, 1)


class CodeRows(beam.DoFn):  # type: ignore[misc]
    """A table of rows -> coded rows by buckets of users; rows of unknown items are counted."""

    def __init__(self, places: Places, buckets: Buckets):
        self.places = places
        self.buckets = buckets

    def process(self, element: tuple[int, str]) -> Iterator[tuple[int, bytes]]:
        """Codes one table."""
        number, file = element
        rows = read_table(Path(file))
        users = IdRanges(self.places, "users", COLUMNS.user_id).codes(rows[COLUMNS.user_id])
        items = IdRanges(self.places, "items", COLUMNS.item_id).codes(rows[COLUMNS.item_id])
        known = items >= 0
        times = rows[COLUMNS.timestamp]
        summary = {"unknown": int((~known).sum()), "untimed": times.null_count}
        write_json(self.places.summary("unknown", number), summary)
        coded = Interactions(
            users, items, times.fill_null(0.0).to_numpy(), rows[ROW].to_numpy()
        ).take(known)
        yield from split(to_table(coded), self.buckets.of(coded.users), self.buckets.count)


class DropRepeated(beam.DoFn):  # type: ignore[misc]
    """A bucket of users -> the same without rows that repeat user, item and time."""

    def __init__(self, places: Places):
        self.places = places

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[int]:
        """Writes one bucket."""
        number, packed = element
        rows = from_table(unpack(packed).sort_by(ROW))
        kept = rows.take(first_of_repeated(rows))
        write_table(to_table(kept), self.places.table(CODED, number))
        users = int(np.unique(kept.users).size)
        counts = {"rows": len(rows.users), "interactions": len(kept.users), "users": users}
        write_json(self.places.summary(CODED, number), counts)
        yield number


def to_table(interactions: Interactions) -> pa.Table:
    """Interactions as a table."""
    return pa.table(
        {
            "user": interactions.users,
            "item": interactions.items,
            "time": interactions.times,
            ROW: interactions.rows,
        }
    )


def from_table(table: pa.Table) -> Interactions:
    """A table as interactions."""
    return Interactions(*(table[name].to_numpy() for name in ("user", "item", "time", ROW)))
