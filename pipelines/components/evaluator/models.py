"""Models as their artifacts hold them, ready to rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from idp_tf.data.schema import IdMap
from idp_tf.errors import DataError, MissingDataError

SERVING: Final = "Format-Serving"
LIBRARY: Final = Path("assets.extra", "idp_tf")
"""Where in a SavedModel lies what idp_tf loads."""
MODEL_FOLDER: Final = "model"
ITEMS_FILE: Final = "items.parquet"

MODEL: Final = "model"
CONTROL: Final = "control"
BASELINE: Final = "baseline"


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk.

    Args:
        name: ``model``, ``control`` or ``baseline``.
        uri: The artifact's folder.
    """

    name: str
    uri: str

    @property
    def serving(self) -> Path:
        """The SavedModel."""
        return Path(self.uri) / SERVING

    @property
    def library(self) -> Path:
        """What ``idp_tf.models.load_model`` reads."""
        return self.serving / LIBRARY / MODEL_FOLDER

    def read_items(self) -> IdMap:
        """The items that the model knows, in the order of its internal ids.

        Raises:
            MissingDataError: if the artifact does not tell them.
        """
        import polars as pl

        file = self.serving / LIBRARY / ITEMS_FILE
        try:
            return IdMap(pl.read_parquet(file, columns=["item_id"])["item_id"].to_list())
        except (OSError, pl.exceptions.PolarsError) as error:
            raise MissingDataError(
                f"the items of the {self.name} cannot be read: {error}",
                where=file,
                remedy="let Trainer make the model again",
            ) from error


def check_covers(items: IdMap, catalogue: Sequence[str], model: ModelFiles) -> None:
    """Checks that a model knows every item of the domain as it is now.

    Raises:
        DataError: naming an item that it does not know.
    """
    known = set(items.external_ids)
    missing = [item for item in catalogue if item not in known]
    if missing:
        raise DataError(
            f"the {model.name} does not know {len(missing)} of the {len(catalogue)} items, such "
            f"as {missing[0]!r}",
            where=model.serving,
            remedy="train it on the items that it is evaluated on",
        )
