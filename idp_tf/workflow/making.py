"""How each kind of system is made, how it ranks, and how it is exported."""

from __future__ import annotations

from idp_tf.evaluation.models import model_scorer
from idp_tf.evaluation.ranking import Scorer
from idp_tf.models import SequenceModel
from idp_tf.systems import System
from idp_tf.text.recformer import GraphRecformer
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.fine_tune import (
    fine_tune,
    load_target_model,
    model_artifact,
)
from idp_tf.workflow.inner import (
    inner_artifact,
    inner_training_artifact,
    load_inner_model,
    make_inner,
)
from idp_tf.workflow.needs import systems_of
from idp_tf.workflow.recformer import (
    load_recformer,
    make_recformers,
    recformer_artifact,
    recformer_scorer,
)
from idp_tf.workflow.run import Run


def make_systems(run: Run) -> None:
    """Makes every system that is more than a floor; sequence models with each seed."""
    run.config.check()
    fine_tune(run)
    kinds = {system.kind for system in systems_of(run)} if run.is_chief else set()
    if "recformer" in kinds:
        make_recformers(run)
    if "inner" in kinds:
        make_inner(run)


def made_artifact(run: Run, system: System, seed: int) -> Artifact:
    """The artifact of one system with one seed."""
    if system.kind == "inner":
        return inner_artifact(run)
    if system.kind == "recformer":
        return recformer_artifact(run, system)
    return model_artifact(run, system, seed)


def training_artifact(run: Run, system: System, seed: int) -> Artifact:
    """The artifact that tells how a system that is trained came to be."""
    if system.kind == "inner":
        return inner_training_artifact(run)
    return made_artifact(run, system, seed)


def load_made(run: Run, system: System, seed: int) -> Scorer:
    """A finished system, as evaluation takes it."""
    if system.kind == "inner":
        return model_scorer(load_inner_model(run), system.slug)
    if system.kind == "recformer":
        return recformer_scorer(load_recformer(run, system), system.slug)
    return model_scorer(load_target_model(run, system, seed), system.slug)


def models_of(run: Run) -> list[System]:
    """The systems of this run that are more than a floor: those that can be exported."""
    return [system for system in systems_of(run) if system.kind != "floor"]


def load_recommender(run: Run, system: System, seed: int) -> SequenceModel | GraphRecformer:
    """A finished system, as the export takes it."""
    if system.kind == "inner":
        return load_inner_model(run)
    if system.kind == "recformer":
        return load_recformer(run, system).in_graph()
    return load_target_model(run, system, seed)
