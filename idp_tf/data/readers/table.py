"""Any CSV or Parquet tables, their columns named by the options."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from idp_tf.data.readers.bad_rows import LINES, REFUSED, BadRows
from idp_tf.data.readers.files import LINE, refuse_rows, require_file
from idp_tf.data.readers.quotes import SoundBlocks, split_rows
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
_PARQUET_ROWS = 2**20
_OURS = (COLUMNS.user_id, COLUMNS.item_id, COLUMNS.timestamp, COLUMNS.title)


def read_table(
    name: str,
    interactions_file: Path,
    items_file: Path,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> RawDomain:
    """Reads two tables, each CSV (with a header; plain or ``.gz``) or Parquet.

    CSV may be quoted as RFC 4180 has it; blank lines are passed over. A quote that is not closed
    makes its row's first line a bad one, and reading goes on at the next; when fields of several
    lines count as closed, and what stray quotes in pairs do, ``idp_tf.data.readers.quotes`` says.
    Other bad rows of several lines are set aside whole, and count as often as they have lines. In
    errors, lines of a CSV are those of the file, also behind quoted line feeds; the rows of a
    Parquet file count from 1. Ids become text as they are written; a Parquet file may hold them as
    integers.

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


def interactions(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[pl.DataFrame]:
    """A table of interactions, block by block; see ``read_table``."""
    for rows in _read_columns(file, _column_names(options.columns), _OURS[:3], options.bad_rows):
        yield checked_interactions(rows, file, options.bad_rows)


def items(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[pl.DataFrame]:
    """A table of items, block by block."""
    names, wanted = _column_names(options.columns), (COLUMNS.item_id, COLUMNS.title)
    for rows in _read_columns(file, names, wanted, options.bad_rows):
        yield checked_items(rows, file, options.bad_rows)


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
) -> Iterator[pl.DataFrame]:
    """Reads columns as text under our names, with line numbers, block by block."""
    require_file(file)
    wanted = {column: names[column] for column in ours if column in names}
    text = [pl.col(theirs).cast(pl.String).alias(column) for column, theirs in wanted.items()]
    try:
        blocks = _read_parquet(file) if file.suffix == ".parquet" else _read_csv(file, wanted, bad)
        for table, places in blocks:
            for column, theirs in wanted.items():
                if theirs not in table.columns:
                    raise _no_column(column, theirs, table.columns, file)
            yield table.select(text).hstack(places)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"cannot be read as a table: {error}", where=file, remedy="mend the file"
        ) from error


def _no_column(ours: str, theirs: str, found: list[str], file: Path) -> MissingDataError:
    or_none = ", or null if there is none" if ours == COLUMNS.timestamp else ""
    return MissingDataError(
        f"no column {theirs!r}; there are {', '.join(found)}",
        where=file,
        remedy=f"set prepare.columns.{ours} to what the column is called in all domains{or_none}"
        " (in Python: ReadOptions(columns=…))",
    )


def _read_parquet(file: Path) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    table = pl.scan_parquet(file)
    rows = int(table.select(pl.len()).collect().item())
    for begin in range(0, max(rows, 1), _PARQUET_ROWS):
        block = table.slice(begin, _PARQUET_ROWS).collect()
        lines = pl.int_range(begin + 1, begin + block.height + 1, dtype=pl.UInt32, eager=True)
        yield block, lines.alias(LINE).to_frame()


def _read_csv(
    file: Path, columns: Mapping[str, str], bad: BadRows
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """All columns as text, the line on which each row begins, and how many it takes."""
    header = b""
    for first_line, whole in SoundBlocks(file, columns, bad):
        if header:
            data, before = header + b"\n" + whole, first_line - 2 - header.count(b"\n")
        else:
            data, before = whole.lstrip(b"\r\n"), first_line - 1
            if not data:
                continue
            before += whole.count(b"\n") - data.count(b"\n")
            header = _first_record(data)
        yield _read_block(data.rstrip(b"\r\n"), before, file, bad)
    if not header:
        raise EmptyDomainError("the file is empty", where=file)


def _first_record(data: bytes) -> bytes:
    """The first line, and those that follow it in a quoted field."""
    end = -1
    while True:
        end = data.find(b"\n", end + 1)
        if end < 0:
            return data
        if data.count(b'"', 0, end) % 2 == 0:
            return data[:end].rstrip(b"\r")


def _read_block(
    data: bytes, before: int, file: Path, bad: BadRows
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reads a header and rows.

    Args:
        data: Their bytes.
        before: What is to be added to the lines of these bytes to have those of the file.
        file: The file.
        bad: What becomes of bad rows.
    """
    try:
        # Polars takes an empty field too many where the last line has no end.
        table = pl.read_csv(io.BytesIO(data + b"\n"), infer_schema=False)
    except pl.exceptions.PolarsError:
        if bad is REFUSED:
            raise
        return _read_row_by_row(data, before, file, bad)
    places = _places(table, data)
    # What polars fills up with nulls, it fills to the last column.
    if table.to_series(-1).null_count():
        return _whole_rows(table, places, (data, before), file, bad)
    return table, _moved(places, before)


def _moved(places: pl.DataFrame, before: int) -> pl.DataFrame:
    return places.with_columns((pl.col(LINE).cast(pl.Int64) + before).cast(pl.UInt32))


def _places(table: pl.DataFrame, data: bytes) -> pl.DataFrame:
    """The line of ``data`` on which each row begins, and how many it takes if any takes several."""
    lines = pl.int_range(2, table.height + 2, dtype=pl.UInt32, eager=True).alias(LINE)
    if table.height == data.count(b"\n"):
        return lines.to_frame()
    feeds = _in_fields(table, "\n")
    in_header = sum(column.count("\n") for column in table.columns)
    return pl.DataFrame([lines + in_header + feeds.cum_sum() - feeds, (feeds + 1).alias(LINES)])


def _whole_rows(
    table: pl.DataFrame, places: pl.DataFrame, block: tuple[bytes, int], file: Path, bad: BadRows
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Leaves out blank lines, and gives rows with too few fields to ``bad``.

    The separators of a row are the commas on its lines that do not stand in its fields.
    """
    data, before = block
    lines = places[LINE]
    text = pl.Series("text", [data.decode()]).str.split("\n").explode().str.strip_suffix("\r")
    commas = text.str.count_matches(",", literal=True).cum_sum()
    ends = pl.concat([lines - 2, pl.Series([len(text) - 1], dtype=lines.dtype)])
    separators = commas.gather(ends).diff().slice(1) - _in_fields(table, ",")
    first = text.gather(lines - 1)
    filled = first != ""
    short = filled & (separators < table.width - 1)
    places = _moved(places, before)
    refuse_rows(places.with_columns(first).filter(short), ",", table.columns, file, bad)
    return table.filter(filled & ~short), places.filter(filled & ~short)


def _read_row_by_row(
    data: bytes, before: int, file: Path, bad: BadRows
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that have as many fields as the header; slow, for files that hold others."""
    header: list[str] = []
    rows: list[list[str]] = []
    places: list[tuple[int, int]] = []
    wrong: list[tuple[int, int, str]] = []
    for at, lines, row in split_rows(data.decode()):
        place = at + 1 + before, len(lines)
        if not header:
            header = row
        elif len(row) == len(header):
            rows.append(row)
            places.append(place)
        else:
            wrong.append((*place, lines[0].removesuffix("\r")))
    schema = {LINE: pl.UInt32, LINES: pl.UInt32}
    refuse_rows(
        pl.DataFrame(wrong, schema | {"text": pl.String}, orient="row"), ",", header, file, bad
    )
    table = pl.DataFrame(rows, dict.fromkeys(header, pl.String), orient="row")
    return table, pl.DataFrame(places, schema, orient="row")


def _in_fields(table: pl.DataFrame, character: str) -> pl.Series:
    """How often a character stands in the fields of each row."""
    counts = pl.all().str.count_matches(character, literal=True).fill_null(0)
    return table.select(pl.sum_horizontal(counts)).to_series()
