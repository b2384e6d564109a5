"""Titles as the text encoder is to read them."""

from __future__ import annotations

import html
from collections.abc import Callable

import polars as pl

# The pattern by which html.unescape finds references (html._charref in CPython).
_REFERENCE = r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\x0c <&#;]{1,32};?)"


def clean_titles(titles: pl.Series) -> pl.Series:
    """Unescapes HTML entities once and collapses white space; null becomes empty.

    Entities are resolved as ``html.unescape`` does it, but each distinct one only once:
    titles hold millions of ``&amp;`` and only a few hundred kinds of entity.

    Args:
        titles: String titles, null where there is none.

    Example:
        >>> clean_titles(pl.Series([" Salt &amp;  Pepper   Mill ", None])).to_list()
        ['Salt & Pepper Mill', '']
    """
    return (
        replace_tokens(titles.fill_null(""), _REFERENCE, html.unescape)
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
    )


def replace_tokens(texts: pl.Series, pattern: str, decode: Callable[[str], str]) -> pl.Series:
    """Replaces every match of a pattern by what ``decode`` makes of it.

    ``decode`` runs once for each distinct match. The replacement itself is one
    left-to-right pass that takes the longest token at each place. That agrees with
    ``re.sub`` where a shorter match is never followed by what would make it a longer
    one, as with HTML references and with escapes of Python literals.

    Args:
        texts: Strings, none null.
        pattern: What a token looks like (the regex crate's syntax).
        decode: What becomes of a token.
    """
    tokens = texts.str.extract_all(pattern).explode().drop_nulls().unique().to_list()
    replacements = {token: decode(token) for token in tokens}
    changed = sorted(
        (token for token, text in replacements.items() if text != token),
        key=lambda token: (-len(token), token),
    )
    if not changed:
        return texts
    return texts.str.replace_many(
        changed, [replacements[token] for token in changed], leftmost=True
    )
