"""How often each text occurs, counted exactly, in parts that no worker holds together.

Texts are spread over parts by their hash. A part's table is summed by Beam, and all that is
wanted of it (how many, which are frequent, which are missing) is drawn from it where it lies.

Held in memory: the distinct texts of the parts that a worker sums at the time. On the
in-process runner that is all distinct item ids, titles and words of a domain, not its records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import apache_beam as beam
import polars as pl

VALUE: Final = "value"
_PENDING_ROWS: Final = 65_536
_SEED: Final = 0


def split_by_hash(table: pl.DataFrame, parts: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """Sums a table by ``value`` and splits it into parts, the same text always in the same one.

    Args:
        table: A column ``value`` and columns of counts.
        parts: How many.
    """
    summed = sum_counts(table)
    number = (summed[VALUE].hash(_SEED) % parts).alias("part")
    for (part,), rows in (
        summed.with_columns(number).partition_by("part", as_dict=True, include_key=False).items()
    ):
        yield int(part), rows


def sum_counts(table: pl.DataFrame) -> pl.DataFrame:
    """One row for each value, its counts added up; in no order."""
    return table.group_by(VALUE).agg(pl.exclude(VALUE).sum())


def most_frequent(table: pl.DataFrame, column: str, number: int) -> pl.DataFrame:
    """The values with the largest counts, equal counts in the order of the values.

    Returns:
        Columns ``value`` and ``count``; values with no count are left out.
    """
    counted = table.select(VALUE, pl.col(column).alias("count")).filter(pl.col("count") > 0)
    # The least count that can be among them cuts off the tail before anything is sorted.
    if len(counted) > number:
        least = counted["count"].top_k(number).min()
        counted = counted.filter(pl.col("count") >= least)
    return counted.sort(["count", VALUE], descending=[True, False]).head(number)


@dataclass
class Sums:
    """Tables to be added up; many small ones wait until they are worth a pass."""

    done: pl.DataFrame | None = None
    pending: list[pl.DataFrame] = field(default_factory=list)
    pending_rows: int = 0

    def add(self, table: pl.DataFrame) -> None:
        """Adds a table."""
        self.pending.append(table)
        self.pending_rows += len(table)
        if self.pending_rows > max(_PENDING_ROWS, 0 if self.done is None else len(self.done)):
            self.compact()

    def compact(self) -> None:
        """Sums up what waits."""
        if self.pending:
            tables = self.pending if self.done is None else [self.done, *self.pending]
            self.done = sum_counts(pl.concat(tables))
            self.pending, self.pending_rows = [], 0


class SumCounts(beam.CombineFn):
    """Tables of counts of one part -> one table, a row for each value."""

    def create_accumulator(self) -> Sums:
        """Nothing yet."""
        return Sums()

    def add_input(self, mutable_accumulator: Sums, element: pl.DataFrame) -> Sums:
        """Adds a table."""
        mutable_accumulator.add(element)
        return mutable_accumulator

    def merge_accumulators(self, accumulators: Iterable[Sums]) -> Sums:
        """Merges into a new one."""
        merged = Sums()
        for found in accumulators:
            for table in ([] if found.done is None else [found.done], found.pending):
                for part in table:
                    merged.add(part)
        return merged

    def compact(self, accumulator: Sums) -> Sums:
        """Before it travels to another worker."""
        accumulator.compact()
        return accumulator

    def extract_output(self, accumulator: Sums) -> pl.DataFrame:
        """The summed table; Beam gives no key without an element."""
        accumulator.compact()
        assert accumulator.done is not None
        return accumulator.done
