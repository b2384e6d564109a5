"""JSON lines: some string fields of one object a line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from idp_tf.data.readers.bad_rows import REFUSED, BadRows
from idp_tf.data.readers.files import LINE, Block, first_line, read_blocks, shortened_rows
from idp_tf.errors import DataError


def json_rows(
    file: Path, fields: Mapping[str, str], bad: BadRows = REFUSED
) -> Iterator[pl.DataFrame]:
    """Reads some fields of every object, block by block.

    Args:
        file: Plain or ``.gz``.
        fields: Keys of the objects and the columns that they become.
        bad: What becomes of lines that are no object.

    Yields:
        String columns, null where an object lacks the key, and ``line``. Numbers become text.

    Raises:
        MissingDataError: if the file is not there.
        RowError: if a line is no JSON object, and such lines are refused.
        DataError: for a broken gzip file.
    """
    schema = {key: pl.String() for key in fields}
    for block in read_blocks(file):
        lines = block.lines(bad)
        if not lines.height:
            continue
        rows, problem = _objects(block.data, schema)
        if rows is None or rows.height != lines.height:
            lines = _sound(block, lines, bad, problem)
            if not lines.height:
                continue
            rows, problem = _objects("\n".join(lines["text"]).encode(), schema)
            if rows is None or rows.height != lines.height:
                raise DataError(problem, where=f"{block.file}, from line {block.first_line} on")
        yield rows.rename(fields).with_columns(lines[LINE])


def is_json_object(file: Path) -> bool:
    """Whether the first line of a file is a JSON object.

    Raises:
        MissingDataError: if the file is not there.
        DataError: for a broken gzip file.
    """
    return _is_object(first_line(file))


def _objects(data: bytes, schema: Mapping[str, pl.DataType]) -> tuple[pl.DataFrame | None, str]:
    """The objects, or None and what polars says of them."""
    try:
        rows = pl.read_ndjson(io.BytesIO(data), schema=schema)
    except pl.exceptions.PolarsError as error:
        return None, str(error)
    return rows, f"lines hold {rows.height} objects"


def _sound(block: Block, lines: pl.DataFrame, bad: BadRows, problem: str) -> pl.DataFrame:
    """The lines that are objects; a loop over rows, once something is wrong."""
    sound = [_is_object(text) for text in lines["text"]]
    if all(sound):
        raise DataError(problem, where=f"{block.file}, from line {block.first_line} on")
    wrong = lines.filter(~pl.Series(sound))
    bad.found(shortened_rows(wrong), file=block.file, field="(row)", expected="a JSON object")
    return lines.filter(pl.Series(sound))


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
