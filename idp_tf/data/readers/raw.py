"""A domain as it was read, and the checks that every format shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from idp_tf.data.readers.bad_rows import REFUSED, VALUE, BadRows
from idp_tf.data.readers.files import LINE, SourceFile, shortened
from idp_tf.data.schema import COLUMNS
from idp_tf.errors import DataError, EmptyDomainError

_SHOWN_LINES = 5


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
    """

    unknown_items: Literal["error", "drop", "untitled"] = "error"
    repeated_items: Literal["error", "first"] = "error"
    columns: Mapping[str, str | None] = field(default_factory=dict)
    bad_rows: BadRows = REFUSED


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
        frame: String columns ``user_id``, ``item_id``, maybe ``timestamp``, and ``line``.
        file: For the error.
        bad: What becomes of rows that cannot be used.

    Raises:
        RowError: at the first empty id, or timestamp that is no finite number, if such rows
            are refused.
    """
    frame = _with_id(_with_id(frame, COLUMNS.user_id, file, bad), COLUMNS.item_id, file, bad)
    if COLUMNS.timestamp not in frame.columns:
        time = pl.lit(None, pl.Float64).alias(COLUMNS.timestamp)
        return frame.select(COLUMNS.user_id, COLUMNS.item_id, time, LINE)
    text = frame[COLUMNS.timestamp]
    time_values = text.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    finite = time_values.is_finite().fill_null(False)
    wrong = frame.filter(~finite).select(LINE, pl.col(COLUMNS.timestamp).alias(VALUE))
    bad.found(wrong, file=file, field=COLUMNS.timestamp, expected="a number")
    checked = frame.select(COLUMNS.user_id, COLUMNS.item_id, time_values, LINE)
    return checked.filter(finite) if wrong.height else checked


def checked_items(frame: pl.DataFrame, file: Path, bad: BadRows = REFUSED) -> pl.DataFrame:
    """Checks item ids; a title that is null becomes empty.

    Raises:
        RowError: at the first empty id, if such rows are refused.
    """
    frame = _with_id(frame, COLUMNS.item_id, file, bad)
    return frame.select(COLUMNS.item_id, pl.col(COLUMNS.title).fill_null(""), LINE)


def assemble(
    name: str,
    interactions: Iterable[pl.DataFrame],
    items: Iterable[pl.DataFrame],
    files: tuple[Path, Path],
    options: ReadOptions = DEFAULT_OPTIONS,
) -> RawDomain:
    """Puts checked blocks together and checks items against interactions.

    Args:
        name: The domain's name.
        interactions: Results of ``checked_interactions``, in the file's order.
        items: Results of ``checked_items``.
        files: The file of interactions and the file of items.
        options: What to do about gaps.

    Raises:
        EmptyDomainError: if there are no interactions or no items.
        DataError: for repeated or unknown item ids, unless the options allow them.
    """
    interactions_file, items_file = files
    item_table = _concatenated(items, items_file, "items")
    table = _concatenated(interactions, interactions_file, "interactions")
    item_table, repeated = _without_repeated(item_table, items_file, options)
    table, item_table, unknown = _without_unknown(table, item_table, files, options)
    dropped = {
        "rows of repeated items": repeated,
        "interactions of unknown items": unknown,
    }
    return RawDomain(
        name,
        table.drop(LINE),
        item_table.drop(LINE),
        {reason: count for reason, count in dropped.items() if count},
        [SourceFile.of(interactions_file), SourceFile.of(items_file)],
    )


def _with_id(frame: pl.DataFrame, column: str, file: Path, bad: BadRows) -> pl.DataFrame:
    """The rows that have an id."""
    empty = pl.col(column).is_null() | (pl.col(column).str.strip_chars() == "")
    wrong = frame.filter(empty).select(LINE, pl.col(column).alias(VALUE))
    bad.found(wrong, file=file, field=column, expected="an id that is not empty")
    return frame.filter(~empty) if wrong.height else frame


def _concatenated(blocks: Iterable[pl.DataFrame], file: Path, what: str) -> pl.DataFrame:
    frames = [block for block in blocks if block.height]
    if not frames:
        raise EmptyDomainError(f"there are no {what} in the file", where=file)
    return pl.concat(frames)


def _without_repeated(
    items: pl.DataFrame, file: Path, options: ReadOptions
) -> tuple[pl.DataFrame, int]:
    unique = items.unique(COLUMNS.item_id, keep="first", maintain_order=True)
    count = items.height - unique.height
    if count and options.repeated_items == "error":
        repeated = items.filter(items[COLUMNS.item_id].is_duplicated())
        item = repeated[COLUMNS.item_id][0]
        lines = repeated.filter(pl.col(COLUMNS.item_id) == item)[LINE].to_list()
        raise DataError(
            f"the item id {item!r} stands on the lines {_listed(lines)}"
            f" ({repeated[COLUMNS.item_id].n_unique()} such ids in all)",
            where=file,
            remedy="give every item one row, or set prepare.repeated_items=first"
            " (in Python: repeated_items='first')",
        )
    return unique, count


def _without_unknown(
    table: pl.DataFrame,
    items: pl.DataFrame,
    files: tuple[Path, Path],
    options: ReadOptions,
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    item_id = COLUMNS.item_id
    known = table[item_id].is_in(items[item_id].implode())
    unknown = table.filter(~known)
    if not unknown.height:
        return table, items, 0
    if options.unknown_items == "error":
        item, line = unknown[item_id][0], unknown[LINE][0]
        raise DataError(
            f"the item {item!r} has no row in {files[1].name}; {unknown.height} interactions with"
            f" {unknown[item_id].n_unique()} items are like that",
            where=f"{files[0]}, line {line}",
            remedy="complete the item file, or set prepare.unknown_items=drop, or =untitled"
            " (in Python: unknown_items='drop', or 'untitled')",
        )
    if options.unknown_items == "drop":
        kept = table.filter(known)
        if not kept.height:
            raise EmptyDomainError("every interaction is with an unknown item", where=files[0])
        return kept, items, unknown.height
    untitled = unknown.unique(item_id, keep="first", maintain_order=True)
    rows = untitled.select(item_id, pl.lit("").alias(COLUMNS.title), LINE)
    return table, pl.concat([items, rows]), 0


def _listed(lines: list[int]) -> str:
    shown = ", ".join(str(line) for line in lines[:_SHOWN_LINES])
    return shortened(shown + (", …" if len(lines) > _SHOWN_LINES else ""))
