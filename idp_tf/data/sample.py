"""The built-in catalogue: three source domains and a target, made by a seeded generator.

About 3,000 items with readable titles and 5,000 users. It exists so that everything can be
tried and tested without data of anybody's; figures on it demonstrate and prove nothing.

What is planted in it:

- Users have interests (camping, baking, cats …), the same ones in every domain. Titles name
  the interest in each domain's own words (a camping tent, life under canvas), so a matcher of
  titles finds items that attract the same people.
- Users move through the four aspects of an interest in a circle, and from a product type to
  the next, so a model of sequences has something to learn that popularity lacks, and what it
  learns of aspects in the sources holds in the target.
- The target's histories are short.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from idp_tf.data.sample_words import BRANDS, FINISHES, INTERESTS, PRODUCTS

SOURCE_NAMES: Final = ("sample-home", "sample-books", "sample-toys")
TARGET_NAME: Final = "sample-stationery"

IntArray = npt.NDArray[np.int64]

_ASPECTS = 4
_DAY = 86_400
_FIRST_DAY = 1_388_534_400  # 2014-01-01
_KEEP_INTEREST = 0.8
_NEXT_ASPECT = 0.7
_NOISE = 0.08
_NEXT_PRODUCT = np.float32(4.5)
_STRANGE, _AGAIN = np.float32(1e-12), np.float32(1e-6)
"""Weights of items outside the aspect, and of items that the user has: next to none."""


@dataclass(frozen=True)
class _Shop:
    """Sizes of one domain; ``column`` is its place in the words' tuples."""

    name: str
    words: str
    column: int
    num_items: int
    num_users: int
    mean_length: float
    longest: int


_SHOPS = (
    _Shop(SOURCE_NAMES[0], "home", 0, 900, 1_400, 16.0, 40),
    _Shop(SOURCE_NAMES[1], "books", 1, 900, 1_300, 16.0, 40),
    _Shop(SOURCE_NAMES[2], "toys", 2, 850, 1_300, 16.0, 40),
    _Shop(TARGET_NAME, "stationery", 3, 350, 1_000, 7.5, 20),
)
_SHORTEST = 5


@dataclass(frozen=True)
class _Items:
    """Items of a domain, shape (num_items,) each; an item's id is its row."""

    cells: IntArray
    products: IntArray
    weights: npt.NDArray[np.float32]
    titles: list[str]


def write_sample_catalogue(folder: str | Path, seed: int = 0) -> None:
    """Writes the built-in catalogue as RecBole atomic files, the same bytes for the same seed.

    Args:
        folder: Gets a folder for each of ``SOURCE_NAMES`` and for ``TARGET_NAME``.
        seed: The generator's seed.

    Example:
        >>> import tempfile
        >>> from idp_tf.data.readers import read_domain
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_sample_catalogue(folder)
        ...     read_domain(folder, TARGET_NAME).items.height
        350
    """
    for shop in _SHOPS:
        rng = np.random.default_rng([seed, shop.column])
        items = _make_items(shop, rng)
        users, chosen, times = _make_interactions(shop, items, rng)
        place = Path(folder) / shop.name
        place.mkdir(parents=True, exist_ok=True)
        prefix = shop.words[0]
        item_ids = pl.Series([f"{prefix}{row:04d}" for row in range(shop.num_items)])
        user_ids = pl.Series([f"u{shop.column}{row:04d}" for row in range(shop.num_users)])
        _write(
            pl.DataFrame({"item_id:token": item_ids, "title:token_seq": items.titles}),
            place / f"{shop.name}.item",
        )
        interactions = {
            "user_id:token": user_ids[users],
            "item_id:token": item_ids[chosen],
            "timestamp:float": times,
        }
        _write(pl.DataFrame(interactions), place / f"{shop.name}.inter")


def _make_items(shop: _Shop, rng: np.random.Generator) -> _Items:
    """Spreads items over cells (interest and aspect), each a variant of its own."""
    brands, products, finishes = (
        np.array(words[shop.words]) for words in (BRANDS, PRODUCTS, FINISHES)
    )
    num_cells = len(INTERESTS) * _ASPECTS
    cells = np.arange(shop.num_items) % num_cells
    rank_in_cell = np.arange(shop.num_items) // num_cells
    # A permutation of all variants for each cell, so that no title stands there twice.
    variants = rng.permuted(
        np.tile(np.arange(len(products) * len(finishes)), (num_cells, 1)), axis=1
    )
    variant = variants[cells, rank_in_cell]
    product = variant % len(products)
    phrases = np.array([a[shop.column] for aspects in INTERESTS.values() for a in aspects])
    titles = _titles(
        shop,
        brands[rng.integers(len(brands), size=shop.num_items)],
        phrases[cells],
        products[product],
        finishes[variant // len(products)],
    )
    shuffled = rng.permutation(shop.num_items)
    weights = ((1.0 + rank_in_cell) ** -0.7).astype(np.float32)
    return _Items(
        cells[shuffled], product[shuffled], weights[shuffled], [titles[row] for row in shuffled]
    )


def _titles(shop: _Shop, *parts: npt.NDArray[np.str_]) -> list[str]:
    brand, phrase, product, finish = (pl.lit(pl.Series(part)) for part in parts)
    if shop.words == "books":
        title = pl.format("{}: {} by {}, {}", phrase, product, brand, finish)
    else:
        title = pl.format("{} {} {}, {}", brand, phrase, product, finish)
    return pl.select(title.alias("title"))["title"].to_list()


def _make_interactions(
    shop: _Shop, items: _Items, rng: np.random.Generator
) -> tuple[IntArray, IntArray, IntArray]:
    """Users, items and timestamps, in the order of users and time."""
    num_users = shop.num_users
    extra = rng.geometric(1.0 / (1.0 + shop.mean_length - _SHORTEST), num_users) - 1
    lengths = np.minimum(_SHORTEST + extra, shop.longest)
    chosen = _walk(items, num_users, int(lengths.max()), rng)
    gaps = rng.integers(_DAY // 8, 25 * _DAY, chosen.shape)
    times = _FIRST_DAY + rng.integers(200 * _DAY, size=(num_users, 1)) + gaps.cumsum(axis=1)
    shown = np.arange(chosen.shape[1]) < lengths[:, None]
    return np.nonzero(shown)[0], chosen[shown], times[shown]


def _walk(items: _Items, num_users: int, steps: int, rng: np.random.Generator) -> IntArray:
    """Every user's items, shape (num_users, steps): one step of all users at a time."""
    everyone = np.arange(num_users)
    own = rng.permuted(np.tile(np.arange(len(INTERESTS)), (num_users, 1)), axis=1)[:, :2]
    interest = own[:, 0]
    aspect = rng.integers(_ASPECTS, size=num_users)
    product = rng.integers(items.products.max() + 1, size=num_users)
    seen = np.zeros((num_users, len(items.cells)), np.bool_)
    chosen = np.empty((num_users, steps), np.int64)
    for step in range(steps):
        fits = items.cells == (interest * _ASPECTS + aspect)[:, None]
        fits |= rng.random((num_users, 1)) < _NOISE
        rates = items.weights * np.where(items.products == product[:, None], _NEXT_PRODUCT, 1)
        rates *= np.where(fits, 1, _STRANGE) * np.where(seen, _AGAIN, 1)
        # The first of exponential waiting times is a draw in proportion to the rates.
        item = (rng.standard_exponential(seen.shape, np.float32) / rates).argmin(axis=1)
        chosen[:, step], seen[everyone, item] = item, True
        product = (items.products[item] + 1) % (items.products.max() + 1)
        interest, aspect = _move(interest, aspect, own, rng)
    return chosen


def _move(
    interest: IntArray, aspect: IntArray, own: IntArray, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Mostly on to the next aspect of the same interest; now and then to the other interest."""
    num_users = len(interest)
    other = np.where(interest == own[:, 0], own[:, 1], own[:, 0])
    interest = np.where(rng.random(num_users) < _KEEP_INTEREST, interest, other)
    anywhere = rng.integers(_ASPECTS, size=num_users)
    onward = rng.random(num_users) < _NEXT_ASPECT
    return interest, np.where(onward, (aspect + 1) % _ASPECTS, anywhere)


def _write(table: pl.DataFrame, file: Path) -> None:
    """Writes tab-separated text without quoting, whole or not at all."""
    handle, fresh = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    os.close(handle)
    try:
        table.write_csv(fresh, separator="\t", quote_style="never")
        Path(fresh).chmod(0o644)
        os.replace(fresh, file)
    finally:
        Path(fresh).unlink(missing_ok=True)
