"""MovieLens ``.dat`` files (1M and 10M): fields with ``::`` between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from idp_tf.data.readers.delimited import delimited_interactions
from idp_tf.data.readers.files import read_blocks, shortened_rows
from idp_tf.data.readers.raw import (
    DEFAULT_OPTIONS,
    RawDomain,
    ReadOptions,
    assemble,
    checked_items,
)
from idp_tf.data.schema import COLUMNS

SEPARATOR = "::"
_RATING_COLUMNS = [COLUMNS.user_id, COLUMNS.item_id, "rating", COLUMNS.timestamp]
# A title may itself hold the separator; ids and genres don't.
_MOVIE = rf"^(?P<{COLUMNS.item_id}>.*?)::(?P<{COLUMNS.title}>.*)::(?P<genres>.*)$"


def read_movielens(
    name: str,
    interactions_file: Path,
    items_file: Path,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> RawDomain:
    """Reads ``ratings.dat`` (user, movie, rating, timestamp) and ``movies.dat``.

    Titles keep their year (``Toy Story (1995)``). ``movies.dat`` is read as UTF-8 (10M) and,
    if it is none, as Latin-1 (1M).

    Args:
        name: The domain's name.
        interactions_file: ``ratings.dat``, plain or ``.gz``.
        items_file: ``movies.dat``, plain or ``.gz``.
        options: What to do about gaps.

    Returns:
        The domain as it stands there.

    Raises:
        MissingDataError: for a missing file.
        RowError: for a row that cannot be parsed.
        DataError: for a broken gzip file, repeated or unknown items.
        EmptyDomainError: if there are no rows.

    Source:
        https://files.grouplens.org/datasets/movielens/ml-1m-README.txt
    """
    return assemble(
        name,
        interactions(interactions_file, options),
        items(items_file, options),
        ([interactions_file], [items_file]),
        options,
    )


def interactions(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[pl.DataFrame]:
    """``ratings.dat``, block by block."""
    return delimited_interactions(file, SEPARATOR, _RATING_COLUMNS, bad=options.bad_rows)


def items(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[pl.DataFrame]:
    """``movies.dat``, block by block."""
    encoding, bad = _encoding(file), options.bad_rows
    for block in read_blocks(file, encoding):
        lines = block.lines(bad)
        rows = lines["text"].str.extract_groups(_MOVIE).struct.unnest().with_columns(lines)
        wrong = rows.filter(pl.col("genres").is_null())
        bad.found(
            shortened_rows(wrong), file=file, field="(row)", expected="MovieID::Title::Genres"
        )
        yield checked_items(rows.filter(pl.col("genres").is_not_null()), file, bad)


def _encoding(file: Path) -> str:
    try:
        for block in read_blocks(file):
            block.data.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"
