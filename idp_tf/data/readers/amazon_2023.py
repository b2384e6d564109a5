"""Amazon reviews, 2023 (Hou et al. 2024): JSON lines, or ratings as CSV with a header."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from idp_tf.data.readers.amazon_2018 import is_csv
from idp_tf.data.readers.bad_rows import BadRows
from idp_tf.data.readers.delimited import delimited_interactions
from idp_tf.data.readers.files import first_line
from idp_tf.data.readers.json_lines import json_rows
from idp_tf.data.readers.raw import (
    DEFAULT_OPTIONS,
    RawDomain,
    ReadOptions,
    assemble,
    checked_interactions,
    checked_items,
)
from idp_tf.data.schema import COLUMNS
from idp_tf.errors import MissingDataError

_ITEM_KEY = "parent_asin"
_ITEM_FIELDS = {_ITEM_KEY: COLUMNS.item_id, "title": COLUMNS.title}
_REVIEW_FIELDS = {
    "user_id": COLUMNS.user_id,
    _ITEM_KEY: COLUMNS.item_id,
    "timestamp": COLUMNS.timestamp,
}


def read_amazon_2023(
    name: str,
    interactions_file: Path,
    items_file: Path,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> RawDomain:
    """Reads ``Category.jsonl`` (or ``Category.csv``) and ``meta_Category.jsonl``, plain or ``.gz``.

    Reviews are JSON lines (``user_id``, ``parent_asin``, ``timestamp``); the rating-only and k-core
    files are CSV whose header names ``user_id,parent_asin,rating,timestamp``. Timestamps are
    milliseconds and stay so. Metadata are JSON lines (``parent_asin``, ``title``).

    Args:
        name: The domain's name.
        interactions_file: Reviews, or ratings if the name holds ``.csv``.
        items_file: Metadata.
        options: What to do about gaps.

    Returns:
        The domain as it stands there.

    Raises:
        MissingDataError: for a missing file or column.
        RowError: for a row that cannot be parsed.
        DataError: for a broken gzip file, repeated or unknown items.
        EmptyDomainError: if there are no rows.

    Source:
        https://amazon-reviews-2023.github.io/
    """
    return assemble(
        name,
        interactions(interactions_file, options),
        items(items_file, options),
        ([interactions_file], [items_file]),
        options,
    )


def interactions(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[pl.DataFrame]:
    """Reviews or ratings, block by block; see ``read_amazon_2023``."""
    if is_csv(file):
        return _ratings(file, options.bad_rows)
    return _reviews(file, options.bad_rows)


def items(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[pl.DataFrame]:
    """Metadata, block by block."""
    for rows in json_rows(file, _ITEM_FIELDS, options.bad_rows):
        yield checked_items(rows, file, options.bad_rows)


def _reviews(file: Path, bad: BadRows) -> Iterator[pl.DataFrame]:
    for rows in json_rows(file, _REVIEW_FIELDS, bad):
        yield checked_interactions(rows, file, bad)


def _ratings(file: Path, bad: BadRows) -> Iterator[pl.DataFrame]:
    header = first_line(file).split(",")
    missing = [key for key in _REVIEW_FIELDS if key not in header]
    if missing:
        raise MissingDataError(
            f"no column {missing[0]!r}; the header is {','.join(header)!r}",
            where=file,
            remedy="the file should begin with user_id,parent_asin,rating,timestamp",
        )
    names = [_REVIEW_FIELDS.get(column, column) for column in header]
    return delimited_interactions(file, ",", names, header=True, bad=bad)
