"""Finds a domain's files under a folder of domains and picks the reader."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from idp_tf.data.readers import (
    amazon_2014,
    amazon_2018,
    amazon_2023,
    movielens,
    recbole,
    table,
)
from idp_tf.data.readers.amazon_2014 import read_amazon_2014
from idp_tf.data.readers.amazon_2018 import read_amazon_2018
from idp_tf.data.readers.amazon_2023 import read_amazon_2023
from idp_tf.data.readers.json_lines import is_json_object
from idp_tf.data.readers.movielens import read_movielens
from idp_tf.data.readers.raw import DEFAULT_OPTIONS, RawDomain, ReadOptions
from idp_tf.data.readers.recbole import read_recbole
from idp_tf.data.readers.table import read_table
from idp_tf.errors import DataError, MissingDataError


class Reader(Protocol):
    """What every reader looks like."""

    def __call__(
        self,
        name: str,
        interactions_file: Path,
        items_file: Path,
        options: ReadOptions,
        /,
    ) -> RawDomain:
        """Reads a domain from its two files."""


@dataclass(frozen=True)
class Layout:
    """How a format names its files; ``{name}`` stands for the domain's name.

    Args:
        form: What the format is called in messages.
        interactions: Patterns of the file of interactions.
        items: Patterns of the file of items.
        reader: Reads the two.
        blocks: Has ``interactions(file, options)`` and ``items(file, options)``, which read one
            file each, block by block.
        applies: Tells apart, by the file of items, formats that share patterns.
    """

    form: str
    interactions: tuple[str, ...]
    items: tuple[str, ...]
    reader: Reader
    blocks: ModuleType
    applies: Callable[[Path], bool] = lambda items_file: True


def _packed(*patterns: str) -> tuple[str, ...]:
    return tuple(pattern + end for pattern in patterns for end in ("", ".gz"))


def _tables(stem: str) -> tuple[str, ...]:
    return (*_packed(f"{stem}.csv"), f"{stem}.parquet")


_AMAZON_REVIEWS = _packed(
    "{name}.json",
    "{name}_5.json",
    "reviews_{name}.json",
    "reviews_{name}_5.json",
    "ratings_{name}.csv",
    "{name}.csv",
)
_AMAZON_METADATA = _packed("meta_{name}.json")

LAYOUTS: tuple[Layout, ...] = (
    Layout("RecBole", _packed("{name}.inter"), _packed("{name}.item"), read_recbole, recbole),
    Layout("MovieLens", _packed("ratings.dat"), _packed("movies.dat"), read_movielens, movielens),
    Layout("tables", _tables("interactions"), _tables("items"), read_table, table),
    Layout(
        "Amazon 2023",
        _packed("{name}.jsonl", "{name}.csv"),
        _packed("meta_{name}.jsonl"),
        read_amazon_2023,
        amazon_2023,
    ),
    # 2014 and 2018 name their files alike and differ in how metadata are written.
    Layout(
        "Amazon 2018",
        _AMAZON_REVIEWS,
        _AMAZON_METADATA,
        read_amazon_2018,
        amazon_2018,
        is_json_object,
    ),
    Layout(
        "Amazon 2014",
        _AMAZON_REVIEWS,
        _AMAZON_METADATA,
        read_amazon_2014,
        amazon_2014,
        lambda items_file: not is_json_object(items_file),
    ),
)
"""All layouts, in the order in which they are tried."""


def read_domain(
    data_dir: str | Path, name: str, options: ReadOptions = DEFAULT_OPTIONS
) -> RawDomain:
    """Reads a domain whose files lie in ``data_dir/name/`` or, by its name, in ``data_dir``.

    In a folder of its own a domain's files may carry another name (``meta_Office_Products.json.gz``
    in ``office/``), as long as there is only one of each kind.

    Args:
        data_dir: The folder of domains.
        name: The domain's name.
        options: What to do about gaps.

    Returns:
        The domain as it stands in its files.

    Raises:
        MissingDataError: if no file of interactions, or none of items, is found.
        DataError: if more than one is; and what the reader raises.
    """
    layout, interactions, items = find_domain(data_dir, name)
    return layout.reader(name, interactions, items, options)


def find_domain(data_dir: str | Path, name: str) -> tuple[Layout, Path, Path]:
    """The layout of a domain, its file of interactions and its file of items; reads no row.

    Raises:
        MissingDataError: if no file of interactions, or none of items, is found.
        DataError: if more than one is.
    """
    root = Path(data_dir)
    if not root.is_dir():
        raise MissingDataError("there is no such folder", where=root, remedy="check the path")
    without_items: tuple[Layout, Path] | None = None
    for layout in LAYOUTS:
        items = _find(root, name, layout.items)
        if items is not None and not layout.applies(items):
            continue
        interactions = _find(root, name, layout.interactions, layout.items)
        if interactions is not None and items is not None:
            return layout, interactions, items
        if interactions is not None and without_items is None:
            without_items = layout, interactions
    if without_items is not None:
        raise _no_items(root, name, *without_items)
    raise _nothing(root, name)


def list_domains(data_dir: str | Path) -> list[str]:
    """Names under which ``read_domain`` finds interactions in ``data_dir``, sorted."""
    root = Path(data_dir)
    folders = {
        path.name
        for path in root.iterdir()
        if path.is_dir() and any(_matches(path, path.name, _interactions(x)) for x in LAYOUTS)
    }
    return sorted(folders | set(_flat_names(root)))


def _interactions(layout: Layout) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return layout.interactions, layout.items


def _find(
    root: Path, name: str, patterns: tuple[str, ...], unlike: tuple[str, ...] = ()
) -> Path | None:
    folder = root / name
    if not folder.is_dir():
        patterns = tuple(pattern for pattern in patterns if "{name}" in pattern)
        folder = root
    files = _matches(folder, name, (patterns, unlike))
    if len(files) > 1:
        raise DataError(
            f"several files could be meant: {', '.join(file.name for file in files)}",
            where=folder,
            remedy="leave one of them there, or call that format's reader with the file",
        )
    return files[0] if files else None


def _matches(folder: Path, name: str, kinds: tuple[tuple[str, ...], tuple[str, ...]]) -> list[Path]:
    """Files that carry the name; in the domain's own folder, failing those, any that fit."""
    patterns, unlike = kinds
    others = {path for pattern in unlike for path in folder.glob(pattern.format(name="*"))}
    exact = glob.escape(name)
    for stem in (exact, "*") if folder.name == name else (exact,):
        found = {path for pattern in patterns for path in folder.glob(pattern.format(name=stem))}
        files = sorted(path for path in found - others if path.is_file())
        if files:
            return files
    return []


def _flat_names(root: Path) -> Iterator[str]:
    """Names of domains that lie in ``data_dir`` itself, with both files."""
    for layout in LAYOUTS:
        for pattern in layout.interactions:
            before, placeholder, after = pattern.partition("{name}")
            for path in root.glob(pattern.format(name="*")) if placeholder else ():
                name = path.name.removeprefix(before).removesuffix(after)
                if name and path.is_file() and _find(root, name, layout.items):
                    yield name


def _looked_for(layout: Layout, name: str) -> str:
    plain = (
        " or ".join(pattern for pattern in kind if not pattern.endswith(".gz"))
        for kind in (layout.interactions, layout.items)
    )
    return f"{layout.form} ({' with '.join(plain)})".replace("{name}", name)


def _no_items(root: Path, name: str, layout: Layout, interactions: Path) -> MissingDataError:
    return MissingDataError(
        f"the file of titles is missing: beside {interactions.name} there is no"
        f" {' or '.join(layout.items)}".replace("{name}", name),
        where=interactions.parent,
        remedy="titles are what domains are matched by; put the item file there",
    )


def _nothing(root: Path, name: str) -> MissingDataError:
    looked = "; ".join(_looked_for(layout, name) for layout in LAYOUTS)
    domains = ", ".join(list_domains(root)) or "none"
    return MissingDataError(
        f"no domain {name!r}; looked in {name}/ and in the folder, plain or .gz, for {looked}",
        where=root,
        remedy=f"domains found there: {domains}",
    )
