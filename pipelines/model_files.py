"""Where in a Model artifact lies what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from idp_tf.data.schema import IdMap
from idp_tf.errors import MissingDataError
from idp_tf.workflow.trainer_modules import EXTRA, ITEMS_FILE, MODEL
from pipelines.components.trainer import SERVING


@dataclass(frozen=True)
class ModelFiles:
    """A trained model on disk.

    Args:
        name: What messages call it.
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
        return self.serving / EXTRA / MODEL

    def read_items(self) -> IdMap:
        """The items that the model knows, in the order of its internal ids.

        Raises:
            MissingDataError: if the artifact does not tell them.
        """
        import polars as pl

        file = self.serving / EXTRA / ITEMS_FILE
        try:
            return IdMap(pl.read_parquet(file, columns=["item_id"])["item_id"].to_list())
        except (OSError, pl.exceptions.PolarsError) as error:
            raise MissingDataError(
                f"the items of the {self.name} cannot be read: {error}",
                where=file,
                remedy="let Trainer make the model again",
            ) from error
