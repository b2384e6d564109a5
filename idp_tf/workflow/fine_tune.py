"""Stage 5: every system's model for the target, in ``target/<domain>/systems/``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from idp_tf.config import FineTuneSettings
from idp_tf.data.domain import Domain
from idp_tf.models import SequenceModel, load_model, save_model
from idp_tf.models.training import TrainingState
from idp_tf.systems import SYSTEMS, Base, System
from idp_tf.transfer.fine_tune import build_target_model
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.prepare import data_key, load_target
from idp_tf.workflow.pretrain import load_pretrained, pretrain_artifact
from idp_tf.workflow.run import Run
from idp_tf.workflow.titles import load_title_vectors, titles_artifact
from idp_tf.workflow.training import train_on_target
from idp_tf.workflow.transfer import load_generated, transfer_artifact
from idp_tf.workflow.tuning import TrialRow, search

_DECIDING = ("model", "options", "items", "adaptor", "embeddings", "takes_over", "trained")

# Raised when the same inputs would make something else.
_FORMAT = 4


def fine_tune(run: Run) -> None:
    """Builds and, but for zero-shot, trains each system with each seed (section 2.6)."""
    run.config.check()
    target = load_target(run)
    # What takes over what its twin has learned comes after it.
    for system in sorted(target_systems(run), key=lambda system: system.embeddings == "twin"):
        for seed in seeds_of(run, system.slug):
            artifact = model_artifact(run, system, seed)
            if not run.open(artifact):
                _make_model(run, target, system, seed, artifact)


def target_systems(run: Run) -> list[System]:
    """The systems of this run that hold a sequence model."""
    return [SYSTEMS[slug] for slug in run.settings.systems if SYSTEMS[slug].kind == "sequence"]


def seeds_of(run: Run, slug: str) -> Iterator[int]:
    """The seeds with which a system is made.

    One where nothing random goes in, and for what is made with the run's seed alone.
    """
    system = SYSTEMS[slug]
    varies = system.kind == "sequence" and (system.trained or system.embeddings == "twin")
    count = run.settings.fine_tune_seeds if varies else 1
    yield from range(run.settings.seed, run.settings.seed + count)


def model_artifact(run: Run, system: System, seed: int) -> Artifact:
    """The artifact of one system with one seed."""
    settings = run.settings
    inputs: dict[str, Any] = {
        "format": _FORMAT,
        "system": _what_decides(system),
        "target": data_key(run, run.config.target),
        "model": settings.model.model_dump(mode="json"),
        "seed": seed,
    }
    if system.trained:
        inputs["fine_tune"] = settings.fine_tune.model_dump(mode="json")
        inputs["negatives"] = settings.evaluation.negatives
        inputs["validation_seed"] = settings.seed
    if system.base is not None:
        inputs["pretrain"] = pretrain_artifact(run, system.base).key
    if system.is_matched:
        inputs["transfer"] = transfer_artifact(run).key
    if system.reads_titles:
        inputs["titles"] = titles_artifact(run, run.config.target).key
    if system.embeddings == "twin":
        inputs["twin"] = model_artifact(run, SYSTEMS[str(system.twin)], seed).key
    folder = run.target_dir / "systems" / system.slug / f"seed-{seed}"
    return run.artifact(folder, f"{system.slug}, seed {seed}", inputs)


def _what_decides(system: System) -> dict[str, Any]:
    """What of a system decides its model: not what it is called, or judged by."""
    fields = asdict(system)
    return {name: fields[name] for name in _DECIDING}


def load_target_model(run: Run, system: System, seed: int) -> SequenceModel:
    """A finished model."""
    artifact = model_artifact(run, system, seed)
    artifact.require()
    return load_model(artifact.folder / "model")


def _make_model(run: Run, target: Domain, system: System, seed: int, artifact: Artifact) -> None:
    if not system.trained:
        if run.is_chief:
            model = _initial_model(run, target, system, seed)
            save_model(model, artifact.folder / "model")
            artifact.finish()
        return

    def attempt(rate: float) -> tuple[SequenceModel, TrainingState]:
        model = _initial_model(run, target, system, seed, run.scope())
        chosen = run.settings.fine_tune.model_copy(update={"learning_rate": rate})
        return model, _train(run, target, model, chosen, seed, artifact)

    rate, trials = run.settings.fine_tune.learning_rate, list[TrialRow]()
    if grid := run.settings.fine_tune.learning_rate_grid:
        rate, trials = search(run, artifact.folder, grid, lambda rate: attempt(rate)[1])
    # Of a grid, this brings the best training back.
    model, state = attempt(rate)
    save_model(model, artifact.folder / "model")
    run.finish(artifact, **asdict(state), learning_rate=rate, trials=trials)


def _initial_model(
    run: Run,
    target: Domain,
    system: System,
    seed: int,
    scope: AbstractContextManager[Any] | None = None,
) -> SequenceModel:
    titles = load_title_vectors(run, target.name) if system.reads_titles else None
    embeddings = _initial_embeddings(run, system, seed)
    pretrained = load_pretrained(run, _base(system)) if system.takes_over else None
    with scope or nullcontext():
        return build_target_model(
            system,
            run.settings.model,
            target.num_items,
            seed,
            embeddings=embeddings,
            title_vectors=titles,
            pretrained=pretrained,
            loss=run.settings.fine_tune.loss,
        )


def _initial_embeddings(run: Run, system: System, seed: int) -> npt.NDArray[np.float32] | None:
    if system.is_matched:
        return load_generated(run, _base(system), system.embeddings)
    if system.embeddings == "twin":
        table = load_target_model(run, SYSTEMS[str(system.twin)], seed).item_embedding
        assert table is not None
        learned: npt.NDArray[np.float32] = table.embeddings.numpy()[1:]
        return learned
    return None


def _base(system: System) -> Base:
    assert system.base is not None, system.slug
    return system.base


def _train(
    run: Run,
    target: Domain,
    model: SequenceModel,
    settings: FineTuneSettings,
    seed: int,
    artifact: Artifact,
) -> TrainingState:
    rate = f"learning-rate-{settings.learning_rate:g}"
    return train_on_target(
        model,
        target,
        settings,
        run.settings,
        seed,
        folder=artifact.folder / "checkpoints" / rate,
        name=f"{artifact.name}, {rate}" if settings.learning_rate_grid else artifact.name,
        tensorboard_dir=run.logs_dir
        / run.config.target
        / artifact.folder.parent.name
        / artifact.folder.name
        / rate,
    )
