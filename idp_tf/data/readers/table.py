"""Any CSV or Parquet tables, their columns named by the caller."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from idp_tf.data.readers.files import LINE, read_blocks, require_file
from idp_tf.data.readers.raw import (
    DEFAULT_OPTIONS,
    RawDomain,
    ReadOptions,
    assemble,
    checked_interactions,
    checked_items,
)
from idp_tf.data.schema import COLUMNS
from idp_tf.errors import DataError, EmptyDomainError, MissingDataError, SettingsError

# In the order in which a table of interactions has them; the title belongs to items.
_OURS = (COLUMNS.user_id, COLUMNS.item_id, COLUMNS.timestamp, COLUMNS.title)


def read_table(
    name: str,
    interactions_file: Path,
    items_file: Path,
    options: ReadOptions = DEFAULT_OPTIONS,
    *,
    columns: Mapping[str, str | None] | None = None,
) -> RawDomain:
    """Reads two tables, each CSV (with a header; plain or ``.gz``) or Parquet.

    CSV may be quoted as RFC 4180 has it. In errors, lines of a CSV are those of the file, also
    behind quoted line feeds; the rows of a Parquet file count from 1. Ids become text as they are
    written; a Parquet file may hold them as integers.

    Args:
        name: The domain's name.
        interactions_file: A row for each interaction.
        items_file: A row for each item.
        options: What to do about gaps.
        columns: What our columns (``user_id``, ``item_id``, ``timestamp``, ``title``) are called
            in the tables, where that differs. ``{"timestamp": None}`` says that there are no
            timestamps; such a domain can only be prepared with ``ties="source"``.

    Returns:
        The domain as it stands there.

    Raises:
        SettingsError: if ``columns`` names a column that isn't ours.
        MissingDataError: for a missing file or column.
        RowError: for a row that cannot be parsed.
        DataError: for a file that is no such table, repeated or unknown items.
        EmptyDomainError: if there are no rows.
    """
    names = _column_names(columns or {})
    rows = _read_columns(interactions_file, names, _OURS[:3])
    interactions = checked_interactions(rows, interactions_file)
    items = checked_items(
        _read_columns(items_file, names, (COLUMNS.item_id, COLUMNS.title)), items_file
    )
    return assemble(name, [interactions], [items], (interactions_file, items_file), options)


def _column_names(columns: Mapping[str, str | None]) -> dict[str, str]:
    """Our columns and what they are called; those that aren't there are left out."""
    for ours, theirs in columns.items():
        if ours not in _OURS or (theirs is None and ours != COLUMNS.timestamp):
            raise SettingsError(
                f"columns maps {ours!r} to {theirs!r}",
                remedy=f"name what {', '.join(_OURS)} are called; only timestamp may be None",
            )
    called = {ours: columns.get(ours, ours) for ours in _OURS}
    return {ours: theirs for ours, theirs in called.items() if theirs is not None}


def _read_columns(file: Path, names: Mapping[str, str], ours: tuple[str, ...]) -> pl.DataFrame:
    """Reads columns as text under our names, with line numbers."""
    require_file(file)
    try:
        table, lines = _read_parquet(file) if file.suffix == ".parquet" else _read_csv(file)
        wanted = {column: names[column] for column in ours if column in names}
        for theirs in wanted.values():
            if theirs not in table.columns:
                raise MissingDataError(
                    f"no column {theirs!r}; there are {', '.join(table.columns)}",
                    where=file,
                    remedy="say by `columns` what the column is called",
                )
        text = [pl.col(theirs).cast(pl.String).alias(column) for column, theirs in wanted.items()]
        return table.select(text).with_columns(lines)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"cannot be read as a table: {error}", where=file, remedy="mend the file"
        ) from error


def _read_parquet(file: Path) -> tuple[pl.DataFrame, pl.Series]:
    table = pl.read_parquet(file)
    return table, pl.int_range(1, table.height + 1, dtype=pl.UInt32, eager=True).alias(LINE)


def _read_csv(file: Path) -> tuple[pl.DataFrame, pl.Series]:
    """All columns as text, and lines, which count the line feeds inside quoted fields, too."""
    data = b"\n".join(block.data for block in read_blocks(file)).rstrip(b"\r\n")
    if not data:
        raise EmptyDomainError("the file is empty", where=file)
    table = pl.read_csv(io.BytesIO(data), infer_schema=False)
    lines = pl.int_range(2, table.height + 2, dtype=pl.UInt32, eager=True).alias(LINE)
    if table.height == data.count(b"\n"):
        return table, lines
    feeds = table.select(
        pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True).fill_null(0)).alias(LINE)
    )[LINE].cast(pl.UInt32)
    in_header = sum(column.count("\n") for column in table.columns)
    return table, lines + in_header + feeds.cum_sum() - feeds
