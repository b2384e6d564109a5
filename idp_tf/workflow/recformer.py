"""Recformer, from histories of titles alone: ``bases/recformer/`` and the target's system.

A language model in the place of everything else: neither the matcher nor any table of ids takes
part. ``settings.recformer`` caps what it reads, and it has one seed, the run's.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from idp_tf.data.sequences import LEAVE_OUT_TRAIN
from idp_tf.evaluation.ranking import Scorer
from idp_tf.systems import System
from idp_tf.text.recformer import (
    Recformer,
    RecformerEncoder,
    build_recformer_encoder,
    fine_tune_recformer,
    pretrain_recformer,
)
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.needs import systems_of
from idp_tf.workflow.prepare import data_key, load_sources, load_target
from idp_tf.workflow.run import Run
from idp_tf.workflow.validation import build_validation

# Raised when the same inputs would make something else.
_FORMAT = 2


def make_recformers(run: Run) -> None:
    """Pre-trains on the sources where a system wants that, and fine-tunes each on the target."""
    wanted = [system for system in systems_of(run) if system.kind == "recformer"]
    if any(system.takes_over for system in wanted):
        _pretrain(run)
    for system in wanted:
        _fine_tune(run, system)


def recformer_artifact(run: Run, system: System) -> Artifact:
    """The artifact of one system."""
    inputs: dict[str, Any] = {
        **_what_decides(run),
        "recformer": run.settings.recformer.of_fine_tuning(),
        "target": data_key(run, run.config.target),
        "negatives": run.settings.evaluation.negatives,
        "pretrain": recformer_base_artifact(run).key if system.takes_over else None,
    }
    folder = run.target_dir / "systems" / system.slug / f"seed-{run.settings.seed}"
    return run.artifact(folder, f"{system.slug}, seed {run.settings.seed}", inputs)


def build_fresh_encoder(run: Run) -> RecformerEncoder:
    """The encoder as it was before it met any histories, with the layers that are kept."""
    settings = run.settings
    return build_recformer_encoder(settings.recformer, settings.matcher.encoder, settings.seed)


def load_recformer(run: Run, system: System) -> Recformer:
    """A finished one."""
    artifact = recformer_artifact(run, system)
    artifact.require()
    return Recformer.load(artifact.folder / "model")


def recformer_scorer(recformer: Recformer, name: str) -> Scorer:
    """One as evaluation takes it, with its item vectors as they are."""
    return Scorer(name, recformer.encode_users, recformer.item_vectors(), recformer.max_length)


def recformer_caps(run: Run) -> str:
    """What a reader of its results must know."""
    caps = run.settings.recformer
    layers = "all" if caps.kept_layers is None else caps.kept_layers
    return (
        f"Recformer has {layers} layers of {run.settings.matcher.encoder} here, reads the last "
        f"{caps.max_items} items of a user, {caps.title_tokens} word pieces of each and "
        f"{caps.max_tokens} in all, was pre-trained for {caps.pretrain_steps} steps on at most "
        f"{caps.pretrain_sequences:,} users, and has one seed: its own settings, not those that "
        "the other systems share, and its learning rate is not searched for."
    )


def recformer_base_artifact(run: Run) -> Artifact:
    """The artifact of the pre-training that systems share."""
    inputs = {
        **_what_decides(run),
        "recformer": run.settings.recformer.of_pretraining(),
        "sources": {name: data_key(run, name) for name in run.config.sources},
        "order": list(run.config.sources),
    }
    return run.artifact(run.workdir / "bases" / "recformer", "base recformer", inputs)


def _what_decides(run: Run) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "encoder": run.settings.matcher.encoder,
        "seed": run.settings.seed,
    }


def _pretrain(run: Run) -> None:
    artifact = recformer_base_artifact(run)
    if artifact.open(rebuild=run.rebuild):
        return
    merged, encoder = load_sources(run), build_fresh_encoder(run)
    result = pretrain_recformer(
        encoder,
        merged.titles,
        merged.sequences.truncated(LEAVE_OUT_TRAIN),
        run.settings.recformer,
        run.settings.seed,
        artifact.folder / "checkpoints",
        tensorboard_dir=run.logs_dir / "bases" / "recformer",
    )
    encoder.save(artifact.folder / "encoder")
    artifact.finish(sequences=result.num_sequences, history=list(result.history))


def _fine_tune(run: Run, system: System) -> None:
    artifact = recformer_artifact(run, system)
    if artifact.open(rebuild=run.rebuild):
        return
    target, settings = load_target(run), run.settings.recformer
    encoder = (
        RecformerEncoder.load(recformer_base_artifact(run).folder / "encoder")
        if system.takes_over
        else build_fresh_encoder(run)
    )
    recformer = Recformer.of(encoder, target.titles)
    state = fine_tune_recformer(
        recformer,
        target.sequences.truncated(LEAVE_OUT_TRAIN),
        settings,
        run.settings.seed,
        artifact.folder / "checkpoints",
        validate=build_validation(
            lambda: recformer_scorer(recformer, "validation"),
            target.sequences,
            num_items=target.num_items,
            max_users=settings.validation_users,
            negatives=run.settings.evaluation.negatives,
            seed=run.settings.seed,
        ),
    )
    recformer.save(artifact.folder / "model")
    artifact.finish(**asdict(state))
