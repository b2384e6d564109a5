"""An index of items as files, and how it is asked again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from idp_tf.errors import DataError, MissingDataError, SettingsError

if TYPE_CHECKING:
    from idp_tf.retrieval import Index, Matches

VECTORS_FILE: Final = "vectors.npy"
ITEMS_FILE: Final = "items.parquet"
INDEX_FILE: Final = "index.json"
SAVED_MODEL: Final = "Format-Serving"
_QUERIES: Final = "queries"
_BLOCK: Final = 1024


@dataclass(frozen=True)
class ItemIndex:
    """An index that was built once, and answers alike ever after.

    Args:
        folder: The ItemIndex artifact.
        items: Its items by rows: ``domain``, ``item_id``, ``title``.
        settings: ``retrieval``, ``top_m`` (the most that can be asked) and ``width``.
    """

    folder: Path
    items: pl.DataFrame
    settings: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> ItemIndex:
        """Reads what ``IndexBuilder`` wrote.

        Raises:
            MissingDataError: if a file is not there.
        """
        for name in (VECTORS_FILE, ITEMS_FILE, INDEX_FILE):
            if not (folder / name).is_file():
                raise MissingDataError(
                    f"the index has no {name}", where=folder, remedy="run IndexBuilder again"
                )
        settings = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        return cls(folder, pl.read_parquet(folder / ITEMS_FILE), settings)

    def vectors(self) -> npt.NDArray[np.float32]:
        """The items' vectors, (items, width), mapped and not read."""
        found: npt.NDArray[np.float32] = np.load(self.folder / VECTORS_FILE, mmap_mode="r")
        return found

    def query(self, queries: npt.NDArray[np.float32], top_m: int) -> Matches:
        """The ``top_m`` most similar items of each query, best first.

        Args:
            queries: Shape (queries, width).
            top_m: How many.

        Raises:
            SettingsError: if the index was not built for so many.
            DataError: if the queries are of another width.
        """
        from idp_tf.retrieval import Matches, build_index

        if queries.shape[1:] != (self.settings["width"],):
            raise DataError(
                f"queries have the shape {queries.shape}, vectors a width of "
                f"{self.settings['width']}",
                where=self.folder,
                remedy="encode both with the same encoder",
            )
        if self.settings["retrieval"] == "exact":
            return build_index(self.vectors(), "exact", top_m).query(queries, top_m)
        if top_m > self.settings["top_m"]:
            raise SettingsError(
                f"top_m is {top_m}, but the index was built for {self.settings['top_m']}",
                where="top_m",
                remedy="build the index with the larger top_m",
            )
        scores, rows = self._ask_scann(queries)
        return Matches(scores[:, :top_m], rows[:, :top_m])

    def _ask_scann(
        self, queries: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        import tensorflow as tf

        # Registers ScaNN's ops, without which the SavedModel cannot be loaded.
        from tensorflow_recommenders.layers import factorized_top_k  # noqa: F401

        loaded = tf.saved_model.load(str(self.folder / SAVED_MODEL))
        ask = loaded.signatures["serving_default"]
        parts = []
        for start in range(0, len(queries), _BLOCK):
            found = ask(**{_QUERIES: tf.constant(queries[start : start + _BLOCK])})
            parts.append((found["scores"].numpy(), found["rows"].numpy()))
        width = self.settings["top_m"]
        empty = (np.zeros((0, width), np.float32), np.zeros((0, width), np.int32))
        scores, rows = zip(empty, *parts, strict=True)
        return np.concatenate(scores), np.concatenate(rows).astype(np.int32)


def write_scann(index: Index, k: int, folder: Path, work: Path) -> None:
    """Writes a ScaNN index as a SavedModel that answers as ``Index.query`` does.

    Args:
        index: Of the method ``scann``.
        k: How many items a query gets.
        folder: The artifact's folder.
        work: Where it is written first.
    """
    import tensorflow as tf

    from serving.export.ranking import match_ranker
    from serving.export.saving import Signature, write_saved_model

    rank, width = match_ranker(index), index.width

    def ask(queries: tf.Tensor) -> dict[str, tf.Tensor]:
        # A wrong width would reach ScaNN as an internal error.
        scores, rows = rank(tf.ensure_shape(queries, (None, width)), k)
        return {"scores": scores, "rows": rows}

    shutil.rmtree(work, ignore_errors=True)
    version = write_saved_model(
        work / "item_index",
        {
            "serving_default": Signature(
                function=ask,
                inputs=(tf.TensorSpec((None, width), tf.float32, name=_QUERIES),),
                about=f"The {k} items whose title vectors are most similar, best first.",
                row={_QUERIES: np.asarray(index.vectors[:1])},
            )
        },
        about="ScaNN over the title vectors of all source items; rows are those of items.parquet.",
        notes={"k": k, "items": index.num_vectors},
    )
    shutil.move(version, folder / SAVED_MODEL)


def write_items(folder: Path, tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Writes the items of several domains, in their order."""
    items = pl.concat(tables)
    items.write_parquet(folder / ITEMS_FILE)
    return items
