"""Parts of the counted texts: what goes into them from a batch, and what is drawn from them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import apache_beam as beam
import polars as pl
import pyarrow as pa
from tfx_bsl.sketches import KmvSketch

from idp_tf.data.examples import ITEM_ID as ITEM_ID_NAME
from idp_tf.data.examples import ITEM_IDS as ITEM_IDS_NAME
from idp_tf.data.examples import SEQUENCE
from pipelines.components.statistics_gen.columns import Path, columns_of
from pipelines.components.statistics_gen.counts import VALUE, most_frequent, split_by_hash
from pipelines.components.statistics_gen.titles import TITLE, Counts, add_counts, decode, words_of

_LOG = logging.getLogger("pipelines.StatisticsGen")
_LOG_EVERY: Final = 100_000

Group = Literal["items", "titles", "words"]
Part = tuple[Group, int]

ITEM_IDS: Final[Path] = (SEQUENCE, ITEM_IDS_NAME)
ITEM_ID: Final[Path] = (ITEM_ID_NAME,)
EXACT: Final = frozenset({ITEM_IDS, ITEM_ID, TITLE})
"""Features whose texts are counted exactly."""

ROWS: Final = "rows"
ITEM_COLUMNS: Final = ("train", "eval", ROWS)
"""How often an item id stands in each split's histories, and in how many rows of items."""
KNOWN_BUCKETS: Final = 65_536
"""Item ids are counted exactly up to so many, then with a standard error of 0.4 %."""
EXAMPLES: Final = 10
"""How many offending ids or titles are named."""


class CountUsers(beam.DoFn):
    """Record batches of users -> tables of item ids, by their parts.

    Args:
        split: ``train`` or ``eval``.
        parts: How many parts there are.
    """

    def __init__(self, split: str, parts: int):
        self.split = split
        self.parts = parts
        self._read = 0

    def process(self, element: pa.RecordBatch) -> Iterator[tuple[Part, pl.DataFrame]]:
        """Counts a batch's items."""
        self._read = _log_progress(self.split, self._read, element.num_rows)
        for column in columns_of(element):
            if column.path == ITEM_IDS and column.kind == "bytes":
                yield from _item_parts(column.values, self.split, self.parts)


class CountItems(beam.DoFn):
    """Record batches of items -> tables of ids, titles and words, by their parts.

    Args:
        parts: How many parts there are.
    """

    def __init__(self, parts: int):
        self.parts = parts
        self._read = 0

    def process(self, element: pa.RecordBatch) -> Iterator[tuple[Part, pl.DataFrame]]:
        """Counts a batch's rows, titles and words."""
        self._read = _log_progress("items", self._read, element.num_rows)
        for column in columns_of(element):
            if column.kind == "bytes" and column.path == ITEM_ID:
                yield from _item_parts(column.values, ROWS, self.parts)
            elif column.kind == "bytes" and column.path == TITLE:
                titles = decode(column.values)
                yield from _parts("titles", titles, self.parts)
                yield from _parts("words", words_of(titles)["word"], self.parts)


@dataclass
class Summary:
    """What was drawn from parts; parts of one domain add up.

    Args:
        counts: Counters by what they count.
        top: The most frequent values of a column, ``value`` and ``count``.
        known: A sketch of the ids of all rows of items.
    """

    counts: Counts = field(default_factory=dict)
    top: dict[str, pl.DataFrame] = field(default_factory=dict)
    known: Any = None


class SummarisePart(beam.DoFn):
    """A part's table -> its ``Summary``.

    Args:
        num_top: How many of the most frequent values are kept.
        num_words: How many of the most frequent words are kept.
    """

    def __init__(self, num_top: int, num_words: int):
        self.num_top = num_top
        self.num_words = num_words

    def process(self, element: tuple[Part, pl.DataFrame]) -> Iterator[Summary]:
        """Draws what is wanted of a part."""
        (group, _), table = element
        if group == "items":
            yield _summarise_items(table, self.num_top)
        elif group == "titles":
            yield _summarise_titles(table, self.num_top)
        else:
            counts: Counts = {"vocabulary": Counter(distinct=len(table), total=_sum(table))}
            yield Summary(counts, {"words": most_frequent(table, "count", self.num_words)})


class MergeSummaries(beam.CombineFn):
    """``Summary`` of each part -> that of all."""

    def __init__(self, num_top: int, num_words: int):
        self.num_top = num_top
        self.num_words = num_words

    def create_accumulator(self) -> Summary:
        """Nothing yet."""
        return Summary()

    def add_input(self, mutable_accumulator: Summary, element: Summary) -> Summary:
        """Adds a part's."""
        add_counts(mutable_accumulator.counts, element.counts)
        for name, table in element.top.items():
            number = self.num_words if name == "words" else self.num_top
            if name in mutable_accumulator.top:
                table = pl.concat([mutable_accumulator.top[name], table])
            mutable_accumulator.top[name] = most_frequent(table, "count", number)
        if element.known is not None:
            if mutable_accumulator.known is None:
                mutable_accumulator.known = KmvSketch(KNOWN_BUCKETS)
            mutable_accumulator.known.Merge(element.known)
        return mutable_accumulator

    def merge_accumulators(self, accumulators: Iterable[Summary]) -> Summary:
        """Merges into a new one."""
        merged = Summary()
        for found in accumulators:
            merged = self.add_input(merged, found)
        return merged

    def extract_output(self, accumulator: Summary) -> Summary:
        """What was merged."""
        return accumulator


def _log_progress(what: str, before: int, more: int) -> int:
    """Logs every so many records of this worker; how many there are now."""
    after = before + more
    if after // _LOG_EVERY > before // _LOG_EVERY:
        _LOG.debug("%s: %d records are counted", what, after)
    return after


def _item_parts(values: Any, column: str, parts: int) -> Iterator[tuple[Part, pl.DataFrame]]:
    ids = pl.DataFrame({VALUE: pl.Series(values)})
    counted = ids.group_by(VALUE).len(column).with_columns(pl.col(column).cast(pl.Int64))
    others = [pl.lit(0, pl.Int64).alias(name) for name in ITEM_COLUMNS if name != column]
    table = counted.with_columns(others).select(VALUE, *ITEM_COLUMNS)
    for number, rows in split_by_hash(table, parts):
        yield ("items", number), rows


def _parts(group: Group, texts: pl.Series, parts: int) -> Iterator[tuple[Part, pl.DataFrame]]:
    table = pl.DataFrame({VALUE: texts}).with_columns(pl.lit(1, pl.Int64).alias("count"))
    for number, rows in split_by_hash(table, parts):
        yield (group, number), rows


def _summarise_items(table: pl.DataFrame, num_top: int) -> Summary:
    known, seen = pl.col(ROWS) > 0, pl.col("eval") > 0
    unknown = table.filter(~known & seen)
    repeated = table.filter(pl.col(ROWS) > 1)
    sketch = KmvSketch(KNOWN_BUCKETS)
    sketch.AddValues(table.filter(known)[VALUE].to_arrow())
    counts: Counts = {
        "ids": Counter(
            unknown_items=len(unknown),
            unknown_interactions=int(unknown["eval"].sum()),
            items_without_interactions=table.filter(known & ~seen).height,
            repeated_rows=int(repeated[ROWS].sum()) - len(repeated),
        )
    }
    top = {"unknown": most_frequent(unknown, "eval", EXAMPLES)}
    top["repeated"] = most_frequent(repeated, ROWS, EXAMPLES)
    for name in ITEM_COLUMNS:
        having = table.filter(pl.col(name) > 0)[name]
        counts[name] = Counter(dict(having.value_counts().iter_rows()))
        top[name] = most_frequent(table, name, num_top)
    return Summary(counts, top, sketch)


def _summarise_titles(table: pl.DataFrame, num_top: int) -> Summary:
    filled = table.filter(pl.col(VALUE).str.strip_chars() != "")
    shared = filled.filter(pl.col("count") > 1)
    counts: Counts = {
        "distinct titles": Counter(distinct=len(table), filled=len(filled), duplicate=_sum(shared))
    }
    top = {
        "titles": most_frequent(table, "count", num_top),
        "duplicates": most_frequent(shared, "count", EXAMPLES),
    }
    return Summary(counts, top)


def _sum(table: pl.DataFrame) -> int:
    return int(table["count"].sum())
