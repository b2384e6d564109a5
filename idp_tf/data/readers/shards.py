"""Domains in many files of one format: globs, days of logs, tables in parts.

Rows are in the order of the files' paths, and in a file in that of its lines. A file without rows,
such as that of a day on which nothing happened, is as good as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from idp_tf.data.readers.bad_rows import told
from idp_tf.data.readers.detect import LAYOUTS, Layout, find_domain
from idp_tf.data.readers.files import read_blocks, require_file
from idp_tf.data.readers.raw import (
    DEFAULT_OPTIONS,
    RawDomain,
    ReadOptions,
    assemble,
    placed,
)
from idp_tf.data.schema import COLUMNS
from idp_tf.errors import MissingDataError, SettingsError

FORMATS: Final = {layout.form: layout for layout in LAYOUTS}
"""The layouts by what their formats are called: RecBole, MovieLens, tables, Amazon 2023 …"""
_BY_ENDING: Final = {
    ".inter": "RecBole",
    ".dat": "MovieLens",
    ".csv": "tables",
    ".parquet": "tables",
}


@dataclass(frozen=True)
class Shards:
    """The files of a domain.

    Args:
        layout: Their format.
        interactions: The files of interactions, in the order of their rows.
        items: The files of items, likewise.
    """

    layout: Layout
    interactions: tuple[Path, ...]
    items: tuple[Path, ...]


def find_shards(
    base: str | Path,
    name: str,
    interactions: Sequence[str] = (),
    items: Sequence[str] = (),
    form: str | None = None,
) -> Shards:
    """Finds a domain's files by glob patterns, or, without patterns, as ``read_domain`` does.

    Args:
        base: The folder in which patterns begin.
        name: The domain's name.
        interactions: Patterns of its files of interactions, such as ``logs/day=*/part-*.csv.gz``.
        items: Patterns of its files of items.
        form: The files' format, one of ``FORMATS``; None finds out by how their names end.

    Raises:
        MissingDataError: if there is no such folder, or a pattern matches nothing.
        SettingsError: if the format is unknown or cannot be found out.
    """
    if not interactions and not items:
        layout, interactions_file, items_file = find_domain(base, name)
        chosen = layout if form is None else _layout(form)
        return Shards(chosen, (interactions_file,), (items_file,))
    found = _matching(base, interactions, "interactions"), _matching(base, items, "items")
    return Shards(_layout(form or _form_of(found[0][0])), *found)


def read_shards(name: str, shards: Shards, options: ReadOptions = DEFAULT_OPTIONS) -> RawDomain:
    """Reads a domain from all its files; see ``find_shards`` and the format's reader."""
    files = shards.interactions, shards.items
    return assemble(
        name,
        _all(interaction_blocks(shards.layout, file, options) for file in files[0]),
        _all(item_blocks(shards.layout, file, options) for file in files[1]),
        files,
        options,
    )


def interaction_blocks(
    layout: Layout, file: Path, options: ReadOptions = DEFAULT_OPTIONS
) -> Iterator[pl.DataFrame]:
    """One file of interactions, block by block, bad rows gone.

    Yields:
        Columns ``user_id``, ``item_id``, ``timestamp`` (f64) and ``line``, maybe ``lines``.

    Raises:
        MissingDataError: if the file or a column is not there.
        RowError: for a row that cannot be used, if such rows are refused.
        DataError: for a broken file.
    """
    if _is_empty(file):
        return
    for block in layout.blocks.interactions(file, options):
        yield _in_time(block, file, options)


def item_blocks(
    layout: Layout, file: Path, options: ReadOptions = DEFAULT_OPTIONS
) -> Iterator[pl.DataFrame]:
    """One file of items, block by block: ``item_id``, ``title`` and ``line``."""
    if not _is_empty(file):
        yield from layout.blocks.items(file, options)


def _all(files: Iterable[Iterable[pl.DataFrame]]) -> Iterator[pl.DataFrame]:
    for number, blocks in enumerate(files):
        yield from placed(blocks, number)


def _in_time(block: pl.DataFrame, file: Path, options: ReadOptions) -> pl.DataFrame:
    """The rows whose timestamp can be right."""
    if options.times is None:
        return block
    first, last = options.times
    inside = pl.col(COLUMNS.timestamp).is_between(first, last).fill_null(True)
    wrong = told(block.filter(~inside), COLUMNS.timestamp)
    options.bad_rows.found(
        wrong, file=file, field=COLUMNS.timestamp, expected=f"between {first:g} and {last:g}"
    )
    return block.filter(inside) if wrong.height else block


def _is_empty(file: Path) -> bool:
    require_file(file)
    if file.suffix == ".parquet":
        return False
    return next(iter(read_blocks(file)), None) is None


def _matching(base: str | Path, patterns: Sequence[str], what: str) -> tuple[Path, ...]:
    root = Path(base)
    if not root.is_dir():
        raise MissingDataError("there is no such folder", where=root, remedy="check the path")
    if not patterns or any(Path(pattern).is_absolute() for pattern in patterns):
        raise SettingsError(
            f"the patterns of {what} are {[*patterns]}",
            remedy="give at least one, each relative to the folder of the domain",
        )
    found: set[Path] = set()
    for pattern in patterns:
        files = {path for path in root.glob(pattern) if path.is_file()}
        if not files:
            raise MissingDataError(
                f"no file of {what} matches", where=root / pattern, remedy="check the pattern"
            )
        found |= files
    return tuple(sorted(found))


def _layout(form: str) -> Layout:
    if form not in FORMATS:
        raise SettingsError(
            f"there is no format {form!r}", remedy=f"choose one of {', '.join(sorted(FORMATS))}"
        )
    return FORMATS[form]


def _form_of(file: Path) -> str:
    ending = Path(file.name.removesuffix(".gz")).suffix
    if ending not in _BY_ENDING:
        raise SettingsError(
            f"which format {file.name!r} has cannot be told by its name",
            remedy=f"name it: {', '.join(sorted(FORMATS))}",
        )
    return _BY_ENDING[ending]
