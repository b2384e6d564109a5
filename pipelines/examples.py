"""Where an Examples' and an Items' records lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.artifacts import Artifact

if TYPE_CHECKING:
    from idp_tf.data.domain import Domain


def split_pattern(artifact: Artifact, split: str) -> str:
    """The glob pattern of a split's files: ``train`` or ``eval`` of Examples, ``all`` of Items."""
    return str(artifact.uri / f"Split-{split}" / "data_tfrecord-*")


def load_domain(examples: Artifact, items: Artifact) -> Domain:
    """The domain that ExampleGen made, whole histories; see ``idp_tf.data.examples``."""
    from idp_tf.data.examples import read_domain

    name = str(examples.properties["domain"])
    return read_domain(name, [split_pattern(examples, "eval")], [split_pattern(items, "all")])
