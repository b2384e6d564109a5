"""JSON lines: some string fields of one object a line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from idp_tf.data.readers.files import LINE, Block, first_line, read_blocks, shortened
from idp_tf.errors import DataError, RowError


def json_rows(file: Path, fields: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    """Reads some fields of every object, block by block.

    Args:
        file: Plain or ``.gz``.
        fields: Keys of the objects and the columns that they become.

    Yields:
        String columns, null where an object lacks the key, and ``line``. Numbers become text.

    Raises:
        MissingDataError: if the file is not there.
        RowError: if a line is no JSON object.
        DataError: for a broken gzip file.
    """
    schema = {key: pl.String() for key in fields}
    for block in read_blocks(file):
        lines = block.lines()
        if not lines.height:
            continue
        try:
            rows = pl.read_ndjson(io.BytesIO(block.data), schema=schema)
        except pl.exceptions.PolarsError as error:
            raise _blamed(block, lines, str(error)) from error
        if rows.height != lines.height:
            raise _blamed(block, lines, f"{lines.height} lines hold {rows.height} objects")
        yield rows.rename(fields).with_columns(lines[LINE])


def is_json_object(file: Path) -> bool:
    """Whether the first line of a file is a JSON object.

    Raises:
        MissingDataError: if the file is not there.
        DataError: for a broken gzip file.
    """
    try:
        return isinstance(json.loads(first_line(file)), dict)
    except ValueError:
        return False


def _blamed(block: Block, lines: pl.DataFrame, problem: str) -> DataError:
    """Finds the line that polars stumbled over; a loop over rows, once something is wrong."""
    for text, line in lines.select("text", LINE).iter_rows():
        try:
            sound = isinstance(json.loads(text), dict)
        except ValueError:
            sound = False
        if not sound:
            return RowError(
                file=block.file,
                line=line,
                field="(row)",
                value=shortened(text),
                expected="a JSON object",
            )
    return DataError(problem, where=f"{block.file}, from line {block.first_line} on")
