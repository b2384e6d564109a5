"""Sequence models as scorers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idp_tf.evaluation.ranking import Scorer

if TYPE_CHECKING:
    from idp_tf.models import SequenceModel


def model_scorer(model: SequenceModel, name: str) -> Scorer:
    """The scorer of a model as its weights are at this moment.

    Args:
        model: A sequence model; later training changes its users, not its items here.
        name: The system's slug.
    """
    return Scorer(
        name,
        lambda item_ids: model.encode_users(item_ids).numpy(),
        model.item_vectors().numpy(),
        model.max_length,
    )
