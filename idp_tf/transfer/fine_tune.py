"""The ways of using generated embeddings (section 2.6), and what they are compared with.

=============== ==================== =========== =======
system          item embeddings      encoder     trained
=============== ==================== =========== =======
sasrec          fresh                fresh       yes
idp-zero-shot   generated, zero-shot pre-trained no
idp             generated            pre-trained yes
idp-wo-encoder  generated            fresh       yes
idp-wo-matcher  fresh                pre-trained yes
idp-wo-bcl      generated, untuned   pre-trained yes
=============== ==================== =========== =======

"Zero-shot" embeddings may be stretched (``transfer.zero_shot_norm``): what helps a model
that is used at once differs from what helps one that is trained. "Untuned" ones are those
that the text encoder gives as it was, without the contrastive tuning of section 2.4. All
that are trained share settings and budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from idp_tf.config import ModelSettings
from idp_tf.errors import SettingsError
from idp_tf.models import SASRec
from idp_tf.transfer.initializer import MatchedEmbeddings

Embeddings = Literal["fresh", "generated", "zero_shot", "untuned"]


@dataclass(frozen=True)
class TargetSystem:
    """One way of making a model for the target domain.

    Args:
        slug: Its name in settings, files and reports.
        embeddings: Where its item embeddings come from.
        pretrained_encoder: Whether its encoder starts from the pre-trained one.
        trained: Whether it is trained on the target's interactions.
    """

    slug: str
    embeddings: Embeddings
    pretrained_encoder: bool
    trained: bool


TARGET_SYSTEMS: Final[dict[str, TargetSystem]] = {
    system.slug: system
    for system in (
        TargetSystem("sasrec", "fresh", pretrained_encoder=False, trained=True),
        TargetSystem("idp-zero-shot", "zero_shot", pretrained_encoder=True, trained=False),
        TargetSystem("idp", "generated", pretrained_encoder=True, trained=True),
        TargetSystem("idp-wo-encoder", "generated", pretrained_encoder=False, trained=True),
        TargetSystem("idp-wo-matcher", "fresh", pretrained_encoder=True, trained=True),
        TargetSystem("idp-wo-bcl", "untuned", pretrained_encoder=True, trained=True),
    )
}
"""Every system here that holds a sequence model, by slug."""


def build_sasrec(
    settings: ModelSettings,
    num_items: int,
    seed: int,
    embeddings_initializer: object = None,
    loss: str = "bpr",
) -> SASRec:
    """A SASRec with the settings' shape.

    Args:
        settings: Width, layers, heads, dropout, length.
        num_items: Items 1 … num_items.
        seed: Seed of its initial weights and dropout.
        embeddings_initializer: Initializer of the item embeddings.
        loss: What it is trained by (``idp_tf.losses.LOSSES``).
    """
    return SASRec(
        num_items,
        embedding_dim=settings.embedding_dim,
        num_layers=settings.num_layers,
        num_heads=settings.num_heads,
        dropout=settings.dropout,
        max_length=settings.max_length,
        embeddings_initializer=embeddings_initializer,
        loss=loss,
        seed=seed,
    )


def build_target_model(
    system: TargetSystem,
    settings: ModelSettings,
    num_items: int,
    seed: int,
    *,
    generated: npt.NDArray[np.float32] | None = None,
    pretrained: SASRec | None = None,
    loss: str = "bpr",
) -> SASRec:
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
        SettingsError: if the system needs something that is not given.
    """
    initializer = None
    if system.embeddings != "fresh":
        if generated is None:
            raise SettingsError(f"system {system.slug!r} needs generated embeddings")
        initializer = MatchedEmbeddings(generated)
    model = build_sasrec(settings, num_items, seed, initializer, loss)
    if system.pretrained_encoder:
        if pretrained is None:
            raise SettingsError(f"system {system.slug!r} needs a pre-trained model")
        copy_encoder(pretrained, model)
    return model


def copy_encoder(source: SASRec, target: SASRec) -> None:
    """Copies the encoder's trainable weights; dropout keeps the target's own masks.

    Args:
        source: A pre-trained model.
        target: A model of the same shape but for its items; its encoder is overwritten.
    """
    pairs = zip(source.encoder.trainable_variables, target.encoder.trainable_variables, strict=True)
    for theirs, ours in pairs:
        ours.assign(theirs)
