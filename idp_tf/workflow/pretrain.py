"""Stage 2: the sequence model is pre-trained on the merged sources, in ``pretrain/``."""

from __future__ import annotations

from dataclasses import asdict

from idp_tf.data.batches import TrainingBatches
from idp_tf.models import SequenceModel, build_model, load_model, save_model
from idp_tf.models.training import train
from idp_tf.systems import BASE
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.prepare import data_key, load_sources
from idp_tf.workflow.run import Run
from idp_tf.workflow.validation import build_validation

_MODEL = "model"

# Raised when the same inputs would make something else.
_FORMAT = 3


def pretrain(run: Run) -> None:
    """Pre-trains SASRec on all source domains at once (section 2.3).

    Writes ``pretrain/model/`` (the best epoch) and checkpoints; of several workers the chief.
    """
    artifact = pretrain_artifact(run)
    if run.open(artifact):
        return
    settings, seed = run.settings.pretrain, run.settings.seed
    merged = load_sources(run)
    with run.scope():
        model = build_model(
            BASE, run.settings.model, merged.num_items, loss=settings.loss, seed=seed
        )
    batches = TrainingBatches(
        merged.sequences,
        merged.num_items,
        batch_size=settings.batch_size,
        max_length=run.settings.model.max_length,
        seed=seed,
        item_ranges=merged.item_ranges if settings.negatives == "domain" else None,
        negatives=model.item_loss.negatives,
        num_negatives=settings.num_negatives,
    )
    state = train(
        model,
        batches,
        settings,
        validate=build_validation(
            model,
            merged.sequences,
            merged.item_ranges,
            max_users=settings.validation_users,
            negatives=run.settings.evaluation.negatives,
            seed=seed,
        ),
        folder=artifact.folder / "checkpoints",
        name="pre-training",
        tensorboard_dir=run.logs_dir / "pretrain",
    )
    save_model(model, artifact.folder / _MODEL)
    run.finish(artifact, **asdict(state), targets_per_epoch=batches.num_targets)


def pretrain_artifact(run: Run) -> Artifact:
    """The artifact of this stage."""
    inputs = {
        "format": _FORMAT,
        "sources": {name: data_key(run, name) for name in run.config.sources},
        # JSON objects have no order, but merging has one.
        "order": list(run.config.sources),
        "model": run.settings.model.model_dump(mode="json"),
        "pretrain": run.settings.pretrain.model_dump(mode="json"),
        "negatives": run.settings.evaluation.negatives,
        "seed": run.settings.seed,
    }
    return run.artifact(run.workdir / "pretrain", "pre-training", inputs)


def load_pretrained(run: Run) -> SequenceModel:
    """The pre-trained model."""
    artifact = pretrain_artifact(run)
    artifact.require()
    return load_model(artifact.folder / _MODEL)
