"""Text with separators and no quoting: the shared part of several formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from idp_tf.data.readers.bad_rows import REFUSED, BadRows
from idp_tf.data.readers.files import LINE, read_blocks, split_fields
from idp_tf.data.readers.raw import checked_interactions


def delimited_rows(
    file: Path,
    separator: str,
    names: list[str],
    *,
    header: bool = False,
    bad: BadRows = REFUSED,
) -> Iterator[pl.DataFrame]:
    """Reads rows, block by block.

    Args:
        file: Plain or ``.gz``.
        separator: Stands between two fields.
        names: All fields in their order.
        header: Whether the first line is one, to be passed over.
        bad: What becomes of rows that cannot be used.

    Yields:
        A string column for each name, and ``line``.

    Raises:
        MissingDataError: if the file is not there.
        RowError: if a line has more or fewer fields.
        DataError: for a broken gzip file.
    """
    for block in read_blocks(file):
        lines = block.lines(bad)
        if header and block.first_line == 1:
            lines = lines.filter(pl.col(LINE) > 1)
        yield split_fields(lines, separator, names, file, bad)


def delimited_interactions(
    file: Path,
    separator: str,
    names: list[str],
    *,
    header: bool = False,
    bad: BadRows = REFUSED,
) -> Iterator[pl.DataFrame]:
    """``delimited_rows`` with ``user_id``, ``item_id`` and ``timestamp`` among them, checked."""
    for rows in delimited_rows(file, separator, names, header=header, bad=bad):
        yield checked_interactions(rows, file, bad)
