"""The two trainings of sequence models, for the stages of a run and for pipelines' trainers."""

from __future__ import annotations

from pathlib import Path

from idp_tf.config import FineTuneSettings, Settings
from idp_tf.data.batches import TrainingBatches
from idp_tf.data.domain import Domain, MergedDomains
from idp_tf.evaluation.models import model_scorer
from idp_tf.models import SequenceModel
from idp_tf.models.training import TrainingState, train
from idp_tf.workflow.validation import build_validation


def source_batches(
    merged: MergedDomains, settings: Settings, model: SequenceModel
) -> TrainingBatches:
    """What a model is pre-trained on, by ``settings.pretrain``."""
    pretrain = settings.pretrain
    return TrainingBatches(
        merged.sequences,
        merged.num_items,
        batch_size=pretrain.batch_size,
        max_length=settings.model.max_length,
        seed=settings.seed,
        item_ranges=merged.item_ranges if pretrain.negatives == "domain" else None,
        negatives=model.item_loss.negatives,
        num_negatives=pretrain.num_negatives,
    )


def train_on_sources(
    model: SequenceModel,
    merged: MergedDomains,
    settings: Settings,
    *,
    folder: Path,
    name: str,
    tensorboard_dir: Path | None = None,
) -> TrainingState:
    """Pre-trains a model on the merged sources (section 2.3), until validation stops rising.

    Args:
        model: The model as it begins.
        merged: The source domains.
        settings: ``pretrain``, ``model``, ``evaluation`` and the seed are read.
        folder: Where checkpoints are kept; the same call after a kill goes on from there.
        name: What progress lines call it.
        tensorboard_dir: Where TensorBoard's events go, if anywhere.
    """
    return train(
        model,
        source_batches(merged, settings, model),
        settings.pretrain,
        validate=build_validation(
            lambda: model_scorer(model, "validation"),
            merged.sequences,
            merged.item_ranges,
            num_items=merged.num_items,
            max_users=settings.pretrain.validation_users,
            negatives=settings.evaluation.negatives,
            seed=settings.seed,
        ),
        folder=folder,
        name=name,
        tensorboard_dir=tensorboard_dir,
    )


def train_on_target(
    model: SequenceModel,
    target: Domain,
    fine_tune: FineTuneSettings,
    settings: Settings,
    seed: int,
    *,
    folder: Path,
    name: str,
    tensorboard_dir: Path | None = None,
) -> TrainingState:
    """Trains a model on the target (section 2.6), until validation stops rising.

    Args:
        model: The model as it begins.
        target: The target domain.
        fine_tune: How; its ``learning_rate`` is taken, and no grid.
        settings: ``evaluation`` and the seed of the validation sample are read.
        seed: The seed of the batches.
        folder: Where checkpoints are kept; the same call after a kill goes on from there.
        name: What progress lines call it.
        tensorboard_dir: Where TensorBoard's events go, if anywhere.
    """
    batches = TrainingBatches(
        target.sequences,
        target.num_items,
        batch_size=fine_tune.batch_size,
        max_length=model.max_length,
        seed=seed,
        negatives=model.item_loss.negatives,
        num_negatives=fine_tune.num_negatives,
    )
    validate = build_validation(
        lambda: model_scorer(model, "validation"),
        target.sequences,
        num_items=target.num_items,
        max_users=fine_tune.validation_users,
        negatives=settings.evaluation.negatives,
        seed=settings.seed,
    )
    return train(
        model,
        batches,
        fine_tune,
        validate=validate,
        folder=folder,
        name=name,
        tensorboard_dir=tensorboard_dir,
    )
