"""The models of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from idp_tf.data.schema import IdMap
from idp_tf.errors import DataError
from pipelines.model_files import ModelFiles

MODEL: Final = "model"
CONTROL: Final = "control"
BASELINE: Final = "baseline"


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
