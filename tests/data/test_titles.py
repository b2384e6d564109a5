"""Titles are unescaped as html.unescape does it."""

from __future__ import annotations

import html
import re

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from idp_tf.data.titles import clean_titles

PIECES = ["&", ";", "amp", "lt", "gt;", "not", "notit;", "#38", "#x26", "#", "x", " ", "é", "\t"]
TITLES = st.lists(st.lists(st.sampled_from([*PIECES, "a", "&amp;", "&quot;", "#0;"])).map("".join))


@given(TITLES)
def test_entities(titles: list[str]) -> None:
    # The regex crate's white space is Unicode's; str.split's has four control characters more.
    expected = [
        re.sub(r"[^\S\x1c-\x1f]+", " ", html.unescape(title)).strip(" ") for title in titles
    ]
    assert clean_titles(pl.Series(titles, dtype=pl.String)).to_list() == expected


def test_examples() -> None:
    titles = [
        "A &amp;  B",
        "  ",
        None,
        "&#39;n&#x27; &eacute;",
        "&amp;amp;",
        "AT&T &lt",
        "x\u00a0y",
    ]
    cleaned = clean_titles(pl.Series(titles)).to_list()
    assert cleaned == ["A & B", "", "", "'n' é", "&amp;", "AT&T <", "x y"]
