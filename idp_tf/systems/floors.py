"""What nobody should fall under: rankers without a model."""

from __future__ import annotations

from typing import Final

from idp_tf.systems.base import System

POPULARITY: Final = "popularity"
NEAREST_TITLE: Final = "nearest-title"

FLOORS: Final = (
    System(
        slug=POPULARITY,
        label="Most popular first",
        reference="a floor",
        kind="floor",
        trained=False,
    ),
    System(
        slug=NEAREST_TITLE,
        label="Nearest title",
        reference="a floor",
        kind="floor",
        items="titles",
        trained=False,
    ),
)
