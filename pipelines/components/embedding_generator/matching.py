"""Matches of the target's items, those of the last run kept where they still hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from idp_tf.errors import DataError

if TYPE_CHECKING:
    from idp_tf.retrieval import Matches
    from pipelines.artifacts import Artifact
    from pipelines.components.index_builder.files import ItemIndex

MATCHES_FILE: Final = "matches.npz"
MADE_FROM_FILE: Final = "made_from.json"
ITEMS_FILE: Final = "items.parquet"


@dataclass(frozen=True)
class Matched:
    """Matches of all items.

    Args:
        matches: Rows of the index, and similarities, (items, top_m).
        kept: Which items' are the last run's, (items,).
    """

    matches: Matches
    kept: npt.NDArray[np.bool_]


def match_items(
    index: ItemIndex,
    vectors: npt.NDArray[np.float32],
    items: pl.DataFrame,
    top_m: int,
    previous: tuple[pl.DataFrame, Matches] | None,
) -> Matched:
    """Asks the index for the items that are new or have another title.

    Args:
        index: The index.
        vectors: Title vectors of the items, (items, width).
        items: ``item_id`` and ``title_digest``.
        top_m: How many matches.
        previous: Items and matches of the last run by the same index, or None.
    """
    from idp_tf.retrieval import Matches

    rows = np.full(len(items), -1)
    if previous is not None:
        before = previous[0].with_row_index("before")
        joined = items.join(
            before, on=["item_id", "title_digest"], how="left", maintain_order="left"
        )
        rows = joined["before"].fill_null(-1).cast(pl.Int64).to_numpy().copy()
    kept = rows >= 0
    scores = np.zeros((len(items), top_m), np.float32)
    found_rows = np.zeros((len(items), top_m), np.int32)
    if previous is not None:
        scores[kept] = previous[1].scores[rows[kept]]
        found_rows[kept] = previous[1].rows[rows[kept]]
    if not kept.all():
        fresh = index.query(vectors[~kept], top_m)
        scores[~kept], found_rows[~kept] = fresh.scores, fresh.rows
    return Matched(Matches(scores, found_rows), kept)


def load_previous(
    previous: Artifact | None, made_from: dict[str, Any]
) -> tuple[pl.DataFrame, Matches] | None:
    """The last run's items and matches, if they were found in the same way."""
    from idp_tf.retrieval import Matches

    if previous is None:
        return None
    folder = previous.uri
    try:
        content = json.loads((folder / MADE_FROM_FILE).read_text(encoding="utf-8"))
        if content != made_from:
            return None
        items = pl.read_parquet(folder / ITEMS_FILE).select("item_id", "title_digest")
        with np.load(folder / MATCHES_FILE) as stored:
            return items, Matches(stored["scores"], stored["rows"])
    except (OSError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"the last run's matches are damaged: {error}",
            where=folder,
            remedy="remove that artifact; all items are matched anew then",
        ) from error


def write_matching(
    folder: Path, items: pl.DataFrame, matches: Matches, made_from: dict[str, Any]
) -> None:
    """Writes what ``load_previous`` reads."""
    items.write_parquet(folder / ITEMS_FILE)
    np.savez(folder / MATCHES_FILE, scores=matches.scores, rows=matches.rows)
    text = json.dumps(made_from, indent=1) + "\n"
    (folder / MADE_FROM_FILE).write_text(text, encoding="utf-8")
