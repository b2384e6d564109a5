r"""Amazon reviews, 2014 (He and McAuley 2016): metadata are Python literals, a line each.

Metadata are read by regular expressions over whole columns, not by evaluating each line.
Supported is what ``repr`` writes for a dict of strings, numbers, lists and dicts:

- strings in single or double quotes, with or without the prefix ``u``;
- keys in any order; ``asin`` and ``title`` are found as keys of the outermost dict's kind, never
  inside another string (a description that speaks of ``'title': 'x'`` does no harm), but a
  nested dict with a string under a key ``title`` would be taken for it (the data have none);
- the escapes ``\\ \' \" \n \r \t \a \b \f \v \0``, ``\xhh``, ``\uhhhh`` (surrogate pairs
  too), ``\Uhhhhhhhh``. A run of
  ``\xhh`` that is valid UTF-8 is read as such (Python 2 wrote bytes), else as Latin-1.

Implicit joining of strings, raw and byte strings, octal and ``\N{…}`` escapes are not.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from idp_tf.data.readers.amazon_2018 import is_csv, review_interactions
from idp_tf.data.readers.delimited import delimited_interactions
from idp_tf.data.readers.files import LINE, read_blocks, shortened_rows
from idp_tf.data.readers.raw import (
    DEFAULT_OPTIONS,
    RawDomain,
    ReadOptions,
    assemble,
    checked_items,
)
from idp_tf.data.schema import COLUMNS
from idp_tf.data.titles import replace_tokens

_RATING_COLUMNS = [COLUMNS.user_id, COLUMNS.item_id, "rating", COLUMNS.timestamp]

_STRING = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_OTHER = rf"""(?:[^'"]|{_STRING})*"""
_DICT = rf"^\s*\{{{_OTHER}\}}\s*$"
_SURROGATES = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = rf"(?:\\x[0-9a-fA-F]{{2}})+|{_SURROGATES}|" + r"\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\."
_SINGLE = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}


def read_amazon_2014(
    name: str,
    interactions_file: Path,
    items_file: Path,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> RawDomain:
    """Reads ``reviews_Category.json`` (or ``ratings_Category.csv``) and ``meta_Category.json``.

    Reviews are JSON lines (``reviewerID``, ``asin``, ``unixReviewTime``); the rating-only files
    are CSV without a header, **user, item**, rating, timestamp (2018 has item, user). All may be
    ``.gz``. What metadata may look like is said at the top of this module; many items have no
    title.

    Args:
        name: The domain's name.
        interactions_file: Reviews, or ratings if the name holds ``.csv``.
        items_file: Metadata.
        options: What to do about gaps.

    Returns:
        The domain as it stands there.

    Raises:
        MissingDataError: for a missing file.
        RowError: for a row that cannot be parsed.
        DataError: for a broken gzip file, repeated or unknown items.
        EmptyDomainError: if there are no rows.

    Source:
        https://jmcauley.ucsd.edu/data/amazon/links.html
    """
    return assemble(
        name,
        interactions(interactions_file, options),
        items(items_file, options),
        ([interactions_file], [items_file]),
        options,
    )


def interactions(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[pl.DataFrame]:
    """Reviews or ratings, block by block; see ``read_amazon_2014``."""
    bad = options.bad_rows
    if is_csv(file):
        return delimited_interactions(file, ",", _RATING_COLUMNS, bad=bad)
    return review_interactions(file, bad)


def literal_strings(lines: pl.Series, key: str) -> pl.Series:
    r"""The string under a key of dicts written as Python literals, one a line.

    Args:
        lines: The literals.
        key: A key of the dicts.

    Returns:
        The strings, null where a dict lacks the key or holds no string there.

    Example:
        >>> lines = pl.Series(['{\'asin\': \'B0\', \'title\': "Cat\'s \\xc3\\xa9"}'])
        >>> literal_strings(lines, "title")[0]
        "Cat's é"
    """
    # Whole string literals are stepped over, so that the key is only found between them.
    found = lines.str.extract(rf"""^{_OTHER}?['"]{re.escape(key)}['"]\s*:\s*u?({_STRING})""")
    inner = found.str.slice(1, found.str.len_chars() - 2)
    filled = replace_tokens(inner.fill_null(""), _ESCAPE, _unescaped)
    return pl.select(pl.when(found.is_not_null()).then(filled)).to_series()


def items(file: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[pl.DataFrame]:
    """Metadata, block by block."""
    bad = options.bad_rows
    for block in read_blocks(file):
        lines = block.lines(bad)
        is_dict = pl.col("text").str.contains(_DICT)
        bad.found(
            shortened_rows(lines.filter(~is_dict)),
            file=file,
            field="(row)",
            expected="a Python dict such as {'asin': '…', 'title': '…'}",
        )
        lines = lines.filter(is_dict)
        columns = {
            COLUMNS.item_id: literal_strings(lines["text"], "asin"),
            COLUMNS.title: literal_strings(lines["text"], "title"),
            LINE: lines[LINE],
        }
        yield checked_items(pl.DataFrame(columns), file, bad)


def _unescaped(token: str) -> str:
    kind = token[1]
    if kind == "x":
        values = bytes.fromhex(token.replace("\\x", ""))
        try:
            return values.decode("utf-8")
        except UnicodeDecodeError:
            return values.decode("latin-1")
    if kind in "uU" and len(token) > 2:
        codes = [int(code, 16) for code in re.split(r"\\[uU]", token)[1:]]
        if max(codes) > sys.maxunicode:
            return token
        # Two surrogates are one character; one alone is none and becomes U+FFFD.
        units = "".join(map(chr, codes)).encode("utf-16-le", "surrogatepass")
        return units.decode("utf-16-le", "replace")
    return _SINGLE.get(kind, kind if kind in "\\'\"" else token)
