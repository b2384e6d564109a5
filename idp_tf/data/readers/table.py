"""Any CSV or Parquet tables, their columns named by the options."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from idp_tf.data.readers.bad_rows import REFUSED, BadRows
from idp_tf.data.readers.files import LINE, Block, read_blocks, refuse_rows, require_file
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
) -> RawDomain:
    """Reads two tables, each CSV (with a header; plain or ``.gz``) or Parquet.

    CSV may be quoted as RFC 4180 has it; blank lines are passed over. In errors, lines of a CSV are
    those of the file, also behind quoted line feeds; the rows of a Parquet file count from 1. Ids
    become text as they are written; a Parquet file may hold them as integers.

    Args:
        name: The domain's name.
        interactions_file: A row for each interaction.
        items_file: A row for each item.
        options: What to do about gaps, and what the columns are called.

    Returns:
        The domain as it stands there.

    Raises:
        SettingsError: if ``options.columns`` names a column that isn't ours.
        MissingDataError: for a missing file or column.
        RowError: for a row that cannot be parsed.
        DataError: for a file that is no such table, repeated or unknown items.
        EmptyDomainError: if there are no rows.
    """
    return assemble(
        name,
        interactions(interactions_file, options),
        items(items_file, options),
        ([interactions_file], [items_file]),
        options,
    )


def interactions(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> list[pl.DataFrame]:
    """A table of interactions, as one block; see ``read_table``."""
    rows = _read_columns(file, _column_names(options.columns), _OURS[:3], options.bad_rows)
    return [checked_interactions(rows, file, options.bad_rows)]


def items(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> list[pl.DataFrame]:
    """A table of items, as one block."""
    names, wanted = _column_names(options.columns), (COLUMNS.item_id, COLUMNS.title)
    rows = _read_columns(file, names, wanted, options.bad_rows)
    return [checked_items(rows, file, options.bad_rows)]


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


def _read_columns(
    file: Path, names: Mapping[str, str], ours: tuple[str, ...], bad: BadRows
) -> pl.DataFrame:
    """Reads columns as text under our names, with line numbers."""
    require_file(file)
    try:
        table, lines = _read_parquet(file) if file.suffix == ".parquet" else _read_csv(file, bad)
        wanted = {column: names[column] for column in ours if column in names}
        for column, theirs in wanted.items():
            if theirs not in table.columns:
                raise _no_column(column, theirs, table.columns, file)
        text = [pl.col(theirs).cast(pl.String).alias(column) for column, theirs in wanted.items()]
        return table.select(text).with_columns(lines)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"cannot be read as a table: {error}", where=file, remedy="mend the file"
        ) from error


def _no_column(ours: str, theirs: str, found: list[str], file: Path) -> MissingDataError:
    or_none = ", or null if there is none" if ours == COLUMNS.timestamp else ""
    return MissingDataError(
        f"no column {theirs!r}; there are {', '.join(found)}",
        where=file,
        remedy=f"set prepare.columns.{ours} to what the column is called{or_none}"
        " (in Python: ReadOptions(columns=…))",
    )


def _read_parquet(file: Path) -> tuple[pl.DataFrame, pl.Series]:
    table = pl.read_parquet(file)
    return table, pl.int_range(1, table.height + 1, dtype=pl.UInt32, eager=True).alias(LINE)


def _read_csv(file: Path, bad: BadRows) -> tuple[pl.DataFrame, pl.Series]:
    """All columns as text, and the line on which each row begins."""
    whole = b"\n".join(block.data for block in read_blocks(file)).rstrip(b"\r\n")
    data = whole.lstrip(b"\r\n")
    if not data:
        raise EmptyDomainError("the file is empty", where=file)
    try:
        table = pl.read_csv(io.BytesIO(data), infer_schema=False)
    except pl.exceptions.PolarsError:
        if bad is REFUSED:
            raise
        return _read_row_by_row(whole, file, bad)
    lines = _first_lines(table, data) + whole.count(b"\n") - data.count(b"\n")
    # What polars fills up with nulls, it fills to the last column.
    if table.to_series(-1).null_count():
        return _whole_rows(table, lines, whole, file, bad)
    return table, lines


def _first_lines(table: pl.DataFrame, data: bytes) -> pl.Series:
    """The line of ``data`` on which each row begins, behind the line feeds in quoted fields."""
    lines = pl.int_range(2, table.height + 2, dtype=pl.UInt32, eager=True).alias(LINE)
    if table.height == data.count(b"\n"):
        return lines
    feeds = _in_fields(table, "\n")
    in_header = sum(column.count("\n") for column in table.columns)
    return lines + in_header + feeds.cum_sum() - feeds


def _whole_rows(
    table: pl.DataFrame, lines: pl.Series, data: bytes, file: Path, bad: BadRows
) -> tuple[pl.DataFrame, pl.Series]:
    """Leaves out blank lines, and gives rows with too few fields to ``bad``.

    The separators of a row are the commas on its lines that do not stand in its fields.
    """
    text = pl.Series("text", [data.decode()]).str.split("\n").explode().str.strip_suffix("\r")
    commas = text.str.count_matches(",", literal=True).cum_sum()
    ends = pl.concat([lines - 2, pl.Series([len(text) - 1], dtype=lines.dtype)])
    separators = commas.gather(ends).diff().slice(1) - _in_fields(table, ",")
    first = text.gather(lines - 1)
    filled = first != ""
    short = filled & (separators < table.width - 1)
    refuse_rows(pl.DataFrame([first, lines]).filter(short), ",", table.columns, file, bad)
    return table.filter(filled & ~short), lines.filter(filled & ~short)


def _read_row_by_row(data: bytes, file: Path, bad: BadRows) -> tuple[pl.DataFrame, pl.Series]:
    """The rows that have as many fields as the header; slow, for files that hold others."""
    decoded = Block(file, 1, data).lines(bad)
    text = "\n".join(_at_their_lines(decoded))
    reader = csv.reader(io.StringIO(text, newline=""))
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    wrong: list[tuple[int, str]] = []
    line = 1
    for row in reader:
        begun, line = line, reader.line_num + 1
        if not row:
            continue
        if not header:
            header = row
        elif len(row) == len(header):
            rows.append(row)
            lines.append(begun)
        else:
            wrong.append((begun, ",".join(row)))
    refuse_rows(
        pl.DataFrame(wrong, {LINE: pl.UInt32, "text": pl.String}, orient="row"),
        ",",
        header,
        file,
        bad,
    )
    table = pl.DataFrame(rows, dict.fromkeys(header, pl.String), orient="row")
    return table, pl.Series(LINE, lines, dtype=pl.UInt32)


def _at_their_lines(decoded: pl.DataFrame) -> Iterator[str]:
    """Lines with those that were left out as empty ones, so that numbers stay what they were."""
    at = 1
    for text, line in decoded.select("text", LINE).iter_rows():
        yield from [""] * (line - at)
        yield text
        at = line + 1


def _in_fields(table: pl.DataFrame, character: str) -> pl.Series:
    """How often a character stands in the fields of each row."""
    counts = pl.all().str.count_matches(character, literal=True).fill_null(0)
    return table.select(pl.sum_horizontal(counts)).to_series()
