"""A domain as it was read, and the checks that every format shares."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import polars as pl

from idp_tf.data.readers.bad_rows import LINES, REFUSED, BadRows, SetAside, told
from idp_tf.data.readers.files import LINE, SourceFile, shortened
from idp_tf.data.schema import COLUMNS
from idp_tf.errors import DataError, EmptyDomainError

_SHOWN_LINES = 5
_INTERACTIONS = (COLUMNS.user_id, COLUMNS.item_id, COLUMNS.timestamp, LINE)
UNKNOWN_ITEMS: Final = "interactions of unknown items"
"""Why interactions were dropped by reading, as the manifest has it."""
FILE_BITS: Final = 40
"""Bits of a row's place that its line takes; those above them number the file."""


@dataclass(frozen=True)
class ReadOptions:
    """What to do about gaps that raw dumps are known for.

    Args:
        unknown_items: About interactions whose item has no row in the item file: raise an
            ``error``, ``drop`` and count them, or keep them with an item that is ``untitled``.
        repeated_items: About an item id that has several rows in the item file: raise an
            ``error``, or keep the ``first`` row and count the others.
        columns: What our columns (``user_id``, ``item_id``, ``timestamp``, ``title``) are called
            in tables, where that differs. ``{"timestamp": None}`` says that there are no
            timestamps; such a domain can only be prepared with ``ties="source"``.
        bad_rows: About rows that cannot be parsed: they are refused, or ``SetAside``.
        times: The first and the last timestamp that can be right, in the source's own unit; rows
            outside are bad ones. None takes any number.
    """

    unknown_items: Literal["error", "drop", "untitled"] = "error"
    repeated_items: Literal["error", "first"] = "error"
    columns: Mapping[str, str | None] = field(default_factory=dict)
    bad_rows: BadRows = REFUSED
    times: tuple[float, float] | None = None


DEFAULT_OPTIONS = ReadOptions()


@dataclass(frozen=True)
class RawDomain:
    """A domain as it stands in its files, ids and titles untouched.

    Args:
        name: The domain's name.
        interactions: ``user_id`` (str), ``item_id`` (str), ``timestamp`` (f64), in the order of
            the file; all timestamps are null where the source has none.
        items: ``item_id`` (str, unique), ``title`` (str, empty where there is none).
        dropped: What reading left out, counted by reason.
        sources: The files, with checksums.
    """

    name: str
    interactions: pl.DataFrame
    items: pl.DataFrame
    dropped: dict[str, int] = field(default_factory=dict)
    sources: list[SourceFile] = field(default_factory=list)


def checked_interactions(frame: pl.DataFrame, file: Path, bad: BadRows = REFUSED) -> pl.DataFrame:
    """Checks ids and turns timestamps, if there are any, into numbers.

    Args:
        frame: String columns ``user_id``, ``item_id``, maybe ``timestamp``, and ``line``, maybe
            ``lines``.
        file: For the error.
        bad: What becomes of rows that cannot be used.

    Raises:
        RowError: at the first empty id, or timestamp that is no finite number, if such rows
            are refused.
    """
    frame = _with_id(_with_id(frame, COLUMNS.user_id, file, bad), COLUMNS.item_id, file, bad)
    if COLUMNS.timestamp not in frame.columns:
        time = pl.lit(None, pl.Float64).alias(COLUMNS.timestamp)
        return frame.with_columns(time).select(*_INTERACTIONS, *_lines(frame))
    text = frame[COLUMNS.timestamp]
    time_values = text.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    finite = time_values.is_finite().fill_null(False)
    wrong = told(frame.filter(~finite), COLUMNS.timestamp)
    bad.found(wrong, file=file, field=COLUMNS.timestamp, expected="a number")
    checked = frame.with_columns(time_values).select(*_INTERACTIONS, *_lines(frame))
    return checked.filter(finite) if wrong.height else checked


def checked_items(frame: pl.DataFrame, file: Path, bad: BadRows = REFUSED) -> pl.DataFrame:
    """Checks item ids; a title that is null becomes empty.

    Raises:
        RowError: at the first empty id, if such rows are refused.
    """
    frame = _with_id(frame, COLUMNS.item_id, file, bad)
    title = pl.col(COLUMNS.title).fill_null("")
    return frame.select(COLUMNS.item_id, title, LINE, *_lines(frame))


def assemble(
    name: str,
    interactions: Iterable[pl.DataFrame],
    items: Iterable[pl.DataFrame],
    files: tuple[Sequence[Path], Sequence[Path]],
    options: ReadOptions = DEFAULT_OPTIONS,
) -> RawDomain:
    """Puts checked blocks together and checks items against interactions.

    Args:
        name: The domain's name.
        interactions: Results of ``checked_interactions``, in the files' order; of several files,
            ``line`` is the row's place (``placed``).
        items: Results of ``checked_items``, likewise.
        files: The files of interactions and those of items.
        options: What to do about gaps.

    Raises:
        EmptyDomainError: if there are no interactions or no items.
        DataError: for repeated or unknown item ids, unless the options allow them.
    """
    interaction_files, item_files = files
    table = _concatenated(interactions, interaction_files, "interactions")
    item_table = _concatenated(items, item_files, "items")
    item_table, repeated = _without_repeated(item_table, item_files, options)
    table, item_table, unknown = _without_unknown(table, item_table, files, options)
    bad = options.bad_rows
    return RawDomain(
        name,
        table.drop(LINE),
        item_table.drop(LINE),
        dropped_by_reading(repeated, unknown, bad.counts if isinstance(bad, SetAside) else {}),
        [SourceFile.of(file, known_as(file, same)) for same in files for file in same],
    )


def dropped_by_reading(repeated: int, unknown: int, bad_rows: Mapping[str, int]) -> dict[str, int]:
    """What reading left out, by reason: rows of repeated items, interactions, bad rows."""
    dropped = {
        "rows of repeated items": repeated,
        UNKNOWN_ITEMS: unknown,
        **dict(sorted(bad_rows.items())),
    }
    return {reason: count for reason, count in dropped.items() if count}


def known_as(file: Path, files: Sequence[Path]) -> str:
    """A file's name in records: without the folder that all the files are in."""
    if len(files) == 1:
        return file.name
    return file.relative_to(os.path.commonpath([other.parent for other in files])).as_posix()


def placed(blocks: Iterable[pl.DataFrame], number: int) -> Iterable[pl.DataFrame]:
    """Blocks whose ``line`` also tells the file: rows of all files are in the order of it.

    Args:
        blocks: Blocks of one file.
        number: The file's number, from 0.
    """
    place = pl.col(LINE).cast(pl.Int64) + (number << FILE_BITS)
    return (block.with_columns(place) for block in blocks)


def shown_place(place: int, files: Sequence[Path]) -> str:
    """A place as errors show it."""
    return f"{files[place >> FILE_BITS]}, line {_line(place)}"


def repeated_item(item: str, places: Sequence[int], ids: int, files: Sequence[Path]) -> DataError:
    """The error about items that have several rows.

    Args:
        item: One of them.
        places: Where it stands.
        ids: How many such items there are.
        files: All files of items.
    """
    own = {place >> FILE_BITS for place in places}
    if len(own) == 1:
        stands, where = f"on the lines {_listed([*map(_line, places)])}", files[own.pop()]
    else:
        shown = [f"{files[at >> FILE_BITS].name}:{_line(at)}" for at in places[:_SHOWN_LINES]]
        stands, where = f"in several files ({', '.join(shown)})", files[places[0] >> FILE_BITS]
    return DataError(
        f"the item id {item!r} stands {stands} ({ids} such ids in all)",
        where=where,
        remedy="give every item one row, or set prepare.repeated_items=first"
        " (in Python: repeated_items='first')",
    )


def unknown_item(
    item: str,
    place: int,
    found: tuple[int, int],
    files: tuple[Sequence[Path], Sequence[Path]],
) -> DataError:
    """The error about interactions whose item has no row.

    Args:
        item: The item of the first of them.
        place: Where that stands.
        found: How many interactions and how many items are like that.
        files: All files of interactions and of items.
    """
    listed = files[1][0].name if len(files[1]) == 1 else f"{len(files[1])} files of items"
    return DataError(
        f"the item {item!r} has no row in {listed}; {found[0]} interactions with"
        f" {found[1]} items are like that",
        where=shown_place(place, files[0]),
        remedy="complete the item file, or set prepare.unknown_items=drop, or =untitled"
        " (in Python: unknown_items='drop', or 'untitled')",
    )


def only_unknown_items(files: Sequence[Path]) -> EmptyDomainError:
    """The error about interactions that are all dropped."""
    return EmptyDomainError("every interaction is with an unknown item", where=files[0])


def no_rows(what: str, files: Sequence[Path]) -> EmptyDomainError:
    """The error about files that hold none of what they should."""
    return EmptyDomainError(
        f"there are no {what} in the file{'s' if len(files) > 1 else ''}", where=files[0]
    )


def _lines(frame: pl.DataFrame) -> list[str]:
    return [LINES] if LINES in frame.columns else []


def _with_id(frame: pl.DataFrame, column: str, file: Path, bad: BadRows) -> pl.DataFrame:
    """The rows that have an id."""
    empty = pl.col(column).is_null() | (pl.col(column).str.strip_chars() == "")
    wrong = told(frame.filter(empty), column)
    bad.found(wrong, file=file, field=column, expected="an id that is not empty")
    return frame.filter(~empty) if wrong.height else frame


def _concatenated(blocks: Iterable[pl.DataFrame], files: Sequence[Path], what: str) -> pl.DataFrame:
    frames = [block.drop(LINES, strict=False) for block in blocks if block.height]
    if not frames:
        raise no_rows(what, files)
    return pl.concat(frames)


def _without_repeated(
    items: pl.DataFrame, files: Sequence[Path], options: ReadOptions
) -> tuple[pl.DataFrame, int]:
    unique = items.unique(COLUMNS.item_id, keep="first", maintain_order=True)
    count = items.height - unique.height
    if count and options.repeated_items == "error":
        repeated = items.filter(items[COLUMNS.item_id].is_duplicated())
        item = repeated[COLUMNS.item_id][0]
        places = repeated.filter(pl.col(COLUMNS.item_id) == item)[LINE].to_list()
        raise repeated_item(item, places, repeated[COLUMNS.item_id].n_unique(), files)
    return unique, count


def _without_unknown(
    table: pl.DataFrame,
    items: pl.DataFrame,
    files: tuple[Sequence[Path], Sequence[Path]],
    options: ReadOptions,
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    item_id = COLUMNS.item_id
    known = table[item_id].is_in(items[item_id].implode())
    unknown = table.filter(~known)
    if not unknown.height:
        return table, items, 0
    if options.unknown_items == "error":
        found = unknown.height, unknown[item_id].n_unique()
        raise unknown_item(unknown[item_id][0], unknown[LINE][0], found, files)
    if options.unknown_items == "drop":
        kept = table.filter(known)
        if not kept.height:
            raise only_unknown_items(files[0])
        return kept, items, unknown.height
    untitled = unknown.unique(item_id, keep="first", maintain_order=True)
    rows = untitled.select(
        item_id, pl.lit("").alias(COLUMNS.title), pl.col(LINE).cast(items.schema[LINE])
    )
    return table, pl.concat([items, rows]), 0


def _line(place: int) -> int:
    return place & ((1 << FILE_BITS) - 1)


def _listed(lines: list[int]) -> str:
    shown = ", ".join(str(line) for line in lines[:_SHOWN_LINES])
    return shortened(shown + (", …" if len(lines) > _SHOWN_LINES else ""))
