"""A model for the target domain, as a system has it begin (section 2.6)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from idp_tf.config import ModelSettings
from idp_tf.errors import SettingsError
from idp_tf.models import SequenceModel, build_model
from idp_tf.systems import System
from idp_tf.transfer.initializer import MatchedEmbeddings


def build_target_model(
    system: System,
    settings: ModelSettings,
    num_items: int,
    seed: int,
    *,
    embeddings: npt.NDArray[np.float32] | None = None,
    title_vectors: npt.NDArray[np.float32] | None = None,
    pretrained: SequenceModel | None = None,
    loss: str = "bpr",
) -> SequenceModel:
    """A model for the target domain as it stands before any training on it.

    Args:
        system: What it starts from.
        settings: The shape of the model; that of ``pretrained`` where that is used.
        num_items: Items of the target domain.
        seed: Seed of whatever is fresh, and of dropout.
        embeddings: Embeddings of items 1 … num_items, (num_items, embedding_dim), unless the
            system begins with fresh ones.
        title_vectors: (num_items, width), all zeros without a title, if the system reads titles.
        pretrained: The model that is taken over, if the system does that.
        loss: What it is trained by.

    Raises:
        SettingsError: if the system has no such model, or needs something that is not given.
    """
    if system.model is None:
        raise SettingsError(
            f"system {system.slug!r} is no sequence model",
            where="system",
            remedy="choose one whose kind is sequence",
        )
    initializer = None
    if system.embeddings != "fresh":
        if embeddings is None:
            raise SettingsError(
                f"system {system.slug!r} needs the embeddings it starts from",
                where="embeddings",
                remedy="generate them (idp_tf.transfer.generate_embeddings)",
            )
        initializer = MatchedEmbeddings(embeddings)
    model = build_model(
        system.model,
        settings,
        num_items,
        items=system.items,
        adaptor=system.adaptor,
        title_vectors=title_vectors,
        embeddings_initializer=initializer,
        loss=loss,
        seed=seed,
        **system.options,
    )
    if system.takes_over:
        if pretrained is None:
            raise SettingsError(
                f"system {system.slug!r} needs a pre-trained model",
                where="pretrained",
                remedy=f"pre-train a {system.base.model if system.base else 'model'}",
            )
        model.take_over(pretrained)
    return model
