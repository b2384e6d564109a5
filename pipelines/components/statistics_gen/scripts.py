"""Scripts and languages of titles, told by what needs no model.

A title's script is the Unicode script of most of its letters. A Latin title's language is the
one of which it holds most function words, of a short list for each language; a title with none,
or with as many of another language, is ``undecided``, as are most short titles. It is
a profile to compare from run to run, and no judge of a single title.
"""

from __future__ import annotations

from typing import Final

import polars as pl

SCRIPTS: Final = (
    "Latin",
    "Cyrillic",
    "Greek",
    "Han",
    "Hiragana",
    "Katakana",
    "Hangul",
    "Arabic",
    "Hebrew",
    "Devanagari",
    "Thai",
)
OTHER: Final = "other"
NO_LETTERS: Final = "none"
UNDECIDED: Final = "undecided"

# Words that stand in one of the lists only.
FUNCTION_WORDS: Final = {
    "en": "the and of for with to from your by you is it this that on or not my all how without",
    "de": "der das und für mit von ein eine zu dem auf ist aus bei nicht oder ohne zum zur",
    "fr": "le les et du des pour avec sur dans au aux une est pas sans vous votre à",
    "es": "el los las y más su sin desde hasta muy",
    "it": "il gli di della dello delle dei nel nella senza più è che sono",
    "pt": "em não uma seu você são às pelo pela",
    "nl": "het van een voor met op zijn niet bij naar uit zonder ook deze",
}


def count_letters(titles: pl.Series) -> pl.DataFrame:
    """Letters of each script in each title.

    Returns:
        A column for each of ``SCRIPTS`` and ``other``, UInt32.
    """
    ascii_only = titles.str.len_bytes() == titles.str.len_chars()
    plain = pl.DataFrame({"title": titles.filter(ascii_only), "row": _rows(ascii_only)})
    mixed = pl.DataFrame({"title": titles.filter(~ascii_only), "row": _rows(~ascii_only)})
    letters = pl.col("title").str.count_matches(r"\p{L}")
    zeros = [pl.lit(0, pl.UInt32).alias(script) for script in (*SCRIPTS[1:], OTHER)]
    # Nearly all titles are ASCII, and need one pass instead of twelve.
    tables = [plain.select("row", letters.alias(SCRIPTS[0]), *zeros)]
    by_script = [
        pl.col("title").str.count_matches(rf"\p{{{script}}}").alias(script) for script in SCRIPTS
    ]
    counted = mixed.select("row", letters.alias("all"), *by_script)
    rest = (pl.col("all").cast(pl.Int64) - pl.sum_horizontal(SCRIPTS).cast(pl.Int64)).clip(0)
    tables.append(counted.select("row", *SCRIPTS, rest.cast(pl.UInt32).alias(OTHER)))
    return pl.concat(tables).sort("row").drop("row")


def main_scripts(letters: pl.DataFrame) -> pl.Series:
    """The script of most letters of each title, the earlier of two with as many.

    Args:
        letters: What ``count_letters`` gave.
    """
    most = pl.max_horizontal(letters.columns)
    # Null unless it is the one with most; the first that is not null is chosen.
    chosen = [pl.when(pl.col(name) == most).then(pl.lit(name)) for name in letters.columns]
    script = pl.when(most > 0).then(pl.coalesce(chosen)).otherwise(pl.lit(NO_LETTERS))
    return letters.select(script.alias("script"))["script"]


def languages(words: pl.DataFrame, scripts: pl.Series) -> pl.Series:
    """The language of each title, for other scripts than Latin ``undecided``.

    Args:
        words: Columns ``row`` and ``word``, every word of every title in lower case.
        scripts: The titles' scripts.
    """
    found = (
        words.join(_function_words(), on="word")
        .group_by("row", "language")
        .len("hits")
        .with_columns(best=pl.col("hits").max().over("row"))
        .filter(pl.col("hits") == pl.col("best"))
        .group_by("row")
        .agg(pl.col("language").first(), ties=pl.len())
        .filter(pl.col("ties") == 1)
        .select("row", "language")
    )
    rows = pl.DataFrame({"script": scripts}).with_row_index("row")
    joined = rows.join(found, on="row", how="left", maintain_order="left")
    latin = pl.col("script") == "Latin"
    return joined.select(
        pl.when(latin).then(pl.col("language")).fill_null(UNDECIDED).alias("language")
    )["language"]


def _rows(mask: pl.Series) -> pl.Series:
    return mask.arg_true()


def _function_words() -> pl.DataFrame:
    pairs = [(word, name) for name, text in FUNCTION_WORDS.items() for word in text.split()]
    return pl.DataFrame(pairs, schema=["word", "language"], orient="row")
