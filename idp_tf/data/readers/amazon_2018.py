"""Amazon reviews, 2018 (Ni, Li and McAuley 2019): JSON lines, or ratings as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from idp_tf.data.readers.bad_rows import REFUSED, BadRows
from idp_tf.data.readers.delimited import delimited_interactions
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

_REVIEW_FIELDS = {
    "reviewerID": COLUMNS.user_id,
    "asin": COLUMNS.item_id,
    "unixReviewTime": COLUMNS.timestamp,
}
_ITEM_FIELDS = {"asin": COLUMNS.item_id, "title": COLUMNS.title}
_RATING_COLUMNS = [COLUMNS.item_id, COLUMNS.user_id, "rating", COLUMNS.timestamp]


def read_amazon_2018(
    name: str,
    interactions_file: Path,
    items_file: Path,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> RawDomain:
    """Reads ``Category.json`` (or ``Category.csv``) and ``meta_Category.json``, plain or ``.gz``.

    Reviews are JSON lines (``reviewerID``, ``asin``, ``unixReviewTime``); the rating-only files
    are CSV without a header, **item, user**, rating, timestamp. Metadata are JSON lines (``asin``,
    ``title``). The published metadata repeat some items: see ``ReadOptions.repeated_items``.

    Args:
        name: The domain's name.
        interactions_file: Reviews, or ratings if the name holds ``.csv``.
        items_file: Metadata.
        options: What to do about gaps.

    Returns:
        The domain as it stands there.

    Raises:
        MissingDataError: for a missing file.
        RowError: for a row that cannot be parsed.
        DataError: for a broken gzip file, repeated or unknown items.
        EmptyDomainError: if there are no rows.

    Source:
        https://nijianmo.github.io/amazon/
    """
    return assemble(
        name,
        interactions(interactions_file, options),
        items(items_file, options),
        ([interactions_file], [items_file]),
        options,
    )


def interactions(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[pl.DataFrame]:
    """Reviews or ratings, block by block; see ``read_amazon_2018``."""
    bad = options.bad_rows
    if is_csv(file):
        return delimited_interactions(file, ",", _RATING_COLUMNS, bad=bad)
    return review_interactions(file, bad)


def items(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[pl.DataFrame]:
    """Metadata, block by block."""
    for rows in json_rows(file, _ITEM_FIELDS, options.bad_rows):
        yield checked_items(rows, file, options.bad_rows)


def is_csv(file: Path) -> bool:
    """Whether a file's name says that it is CSV, packed or not."""
    return file.name.removesuffix(".gz").endswith(".csv")


def review_interactions(file: Path, bad: BadRows = REFUSED) -> Iterator[pl.DataFrame]:
    """Reviews as JSON lines, the same in 2014 and 2018."""
    for rows in json_rows(file, _REVIEW_FIELDS, bad):
        yield checked_interactions(rows, file, bad)
