"""What the titles of a batch look like, in counts that add up.

Held in memory: how often each length, script and language occurs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import apache_beam as beam
import polars as pl
import pyarrow as pa

from idp_tf.data.examples import TITLE as TITLE_NAME
from pipelines.components.statistics_gen.columns import columns_of
from pipelines.components.statistics_gen.scripts import count_letters, languages, main_scripts

Counts = dict[str, Counter[Any]]

TITLE: Final = (TITLE_NAME,)
_WORD: Final = r"[\p{L}\p{N}]+"
# What is left of HTML after it was unescaped once, or was never.
_ENTITY: Final = r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]{1,30});"


def decode(values: Any) -> pl.Series:
    """Arrow's bytes as text, what is no UTF-8 replaced by U+FFFD."""
    try:
        return pl.Series(values.cast(pa.large_string()))
    except pa.ArrowInvalid:
        texts = [value.as_py().decode(errors="replace") for value in values]
        return pl.Series(texts, dtype=pl.String)


def words_of(titles: pl.Series) -> pl.DataFrame:
    """Every word of every title: a run of letters and digits, in lower case.

    Returns:
        Columns ``row``, UInt32, and ``word``.
    """
    words = pl.col("word").str.to_lowercase().str.extract_all(_WORD)
    table = pl.DataFrame({"word": titles}).with_row_index("row")
    return table.with_columns(words).explode("word").drop_nulls("word")


def count_titles(titles: pl.Series) -> Counts:
    """Counts over the titles that are not empty, and how many are.

    Args:
        titles: Texts, none null.
    """
    empty = titles.str.strip_chars() == ""
    filled = titles.filter(~empty)
    words = words_of(filled)
    scripts = (letters := count_letters(filled)).pipe(main_scripts)
    by_row = words.group_by("row").len("words")["words"]
    without = len(filled) - len(by_row)
    non_ascii = filled.str.len_bytes() != filled.str.len_chars()
    return {
        "titles": Counter(
            rows=len(titles),
            empty=int(empty.sum()),
            non_ascii=int(non_ascii.sum()),
            html_entities=int(filled.str.contains(_ENTITY).sum()),
        ),
        "characters": _counter(filled.str.len_chars()),
        "words": _counter(by_row) + Counter({0: without}),
        "scripts": _counter(scripts),
        "letters": Counter({name: int(letters[name].sum()) for name in letters.columns}),
        "languages": _counter(languages(words, scripts)),
    }


def add_counts(into: Counts, other: Counts) -> None:
    """Adds counts by their names."""
    for name, counts in other.items():
        into.setdefault(name, Counter()).update(counts)


class GatherTitles(beam.CombineFn):
    """Record batches of items -> ``Counts`` of their titles."""

    def create_accumulator(self) -> Counts:
        """Nothing yet."""
        return {}

    def add_input(self, mutable_accumulator: Counts, element: pa.RecordBatch) -> Counts:
        """Adds a batch."""
        for column in columns_of(element):
            if column.path == TITLE and column.kind == "bytes":
                add_counts(mutable_accumulator, count_titles(decode(column.values)))
        return mutable_accumulator

    def merge_accumulators(self, accumulators: Iterable[Counts]) -> Counts:
        """Merges into new counters."""
        merged: Counts = {}
        for found in accumulators:
            add_counts(merged, found)
        return merged

    def extract_output(self, accumulator: Counts) -> Counts:
        """What was counted."""
        return accumulator


def _counter(values: pl.Series) -> Counter[Any]:
    return Counter(dict(values.value_counts().iter_rows()))
