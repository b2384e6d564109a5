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
    generated: npt.NDArray[np.float32] | None = None,
    pretrained: SequenceModel | None = None,
    loss: str = "bpr",
) -> SequenceModel:
    """A model for the target domain as it stands before any training on it.

    Args:
        system: What it starts from.
        settings: The shape of the model; that of ``pretrained`` where that is used.
        num_items: Items of the target domain.
        seed: Seed of whatever is fresh, and of dropout.
        generated: Embeddings of items 1 … num_items, (num_items, embedding_dim), if the
            system uses any.
        pretrained: The model whose encoder is copied, if the system uses one.
        loss: What it is trained by.

    Raises:
        SettingsError: if the system has no model, or needs something that is not given.
    """
    if system.model is None:
        raise SettingsError(f"system {system.slug!r} ranks without a model")
    initializer = None
    if system.embeddings != "fresh":
        if generated is None:
            raise SettingsError(f"system {system.slug!r} needs generated embeddings")
        initializer = MatchedEmbeddings(generated)
    model = build_model(
        system.model, settings, num_items, embeddings_initializer=initializer, loss=loss, seed=seed
    )
    if system.takes_encoder:
        if pretrained is None:
            raise SettingsError(f"system {system.slug!r} needs a pre-trained model")
        copy_encoder(pretrained, model)
    return model


def copy_encoder(source: SequenceModel, target: SequenceModel) -> None:
    """Copies the encoder's trainable weights; dropout keeps the target's own masks.

    Args:
        source: A pre-trained model.
        target: A model of the same class and shape but for its items; its encoder is
            overwritten.

    Raises:
        SettingsError: if the models are of different classes.
    """
    if type(source) is not type(target):
        raise SettingsError(
            f"the encoder of a {type(source).__name__} is none for a {type(target).__name__}"
        )
    pairs = zip(source.encoder.trainable_variables, target.encoder.trainable_variables, strict=True)
    for theirs, ours in pairs:
        ours.assign(theirs)
