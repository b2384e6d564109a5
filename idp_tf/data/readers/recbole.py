"""RecBole atomic files: tab-separated, a typed header, no quoting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from idp_tf.data.readers.delimited import delimited_interactions, delimited_rows
from idp_tf.data.readers.files import first_line
from idp_tf.data.readers.raw import (
    DEFAULT_OPTIONS,
    RawDomain,
    ReadOptions,
    assemble,
    checked_items,
)
from idp_tf.data.schema import COLUMNS
from idp_tf.errors import DataError, MissingDataError

SEPARATOR = "\t"


def read_recbole(
    name: str,
    interactions_file: Path,
    items_file: Path,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> RawDomain:
    """Reads ``NAME.inter`` and ``NAME.item``, plain or ``.gz``.

    The header names typed columns (``user_id:token``); ``user_id``, ``item_id`` and
    ``timestamp`` are read, others passed over. The title is the column ``title``, or the only
    one whose name ends in it (``movie_title``). Quotes in titles are ordinary characters.

    Args:
        name: The domain's name.
        interactions_file: The ``.inter`` file.
        items_file: The ``.item`` file.
        options: What to do about gaps.

    Returns:
        The domain as it stands there.

    Raises:
        MissingDataError: for a missing file or column.
        RowError: for a row that cannot be parsed.
        DataError: for a broken gzip file, repeated or unknown items.
        EmptyDomainError: if there are no rows.

    Source:
        https://recbole.io/docs/user_guide/data/atomic_files.html
    """
    return assemble(
        name,
        interactions(interactions_file, options),
        items(items_file, options),
        ([interactions_file], [items_file]),
        options,
    )


def interactions(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[pl.DataFrame]:
    """An ``.inter`` file, block by block; see ``read_recbole``."""
    names = _field_names(file, [COLUMNS.user_id, COLUMNS.item_id, COLUMNS.timestamp])
    return delimited_interactions(file, SEPARATOR, names, header=True, bad=options.bad_rows)


def items(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[pl.DataFrame]:
    """An ``.item`` file, block by block."""
    names = _with_title(_field_names(file, [COLUMNS.item_id]), file)
    bad = options.bad_rows
    blocks = delimited_rows(file, SEPARATOR, names, header=True, bad=bad)
    return (checked_items(rows, file, bad) for rows in blocks)


def _field_names(file: Path, wanted: list[str]) -> list[str]:
    names = [typed.partition(":")[0] for typed in first_line(file).split(SEPARATOR)]
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise DataError(
            f"the header names {twice[0]!r} twice", where=file, remedy="name every column once"
        )
    missing = [column for column in wanted if column not in names]
    if missing:
        raise MissingDataError(
            f"no column {missing[0]!r}; the header names {', '.join(names) or 'nothing'}",
            where=file,
            remedy=f"begin the file with a header such as {missing[0]}:token",
        )
    return names


def _with_title(names: list[str], file: Path) -> list[str]:
    """Renames the title's column to ``title``."""
    if COLUMNS.title in names:
        return names
    titles = [column for column in names if column.endswith(COLUMNS.title)]
    if len(titles) != 1:
        raise MissingDataError(
            f"no column {COLUMNS.title!r}; the header names {', '.join(names)}",
            where=file,
            remedy="name the titles' column title:token_seq",
        )
    return [COLUMNS.title if column == titles[0] else column for column in names]
