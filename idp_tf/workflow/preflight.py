"""What is looked at before a run does or writes anything."""

from __future__ import annotations

import logging

from idp_tf.config import LEARNING_RATES
from idp_tf.systems import SYSTEMS
from idp_tf.systems.base import Kind
from idp_tf.workflow.evaluate import evaluated, evaluation_artifact
from idp_tf.workflow.fine_tune import seeds_of
from idp_tf.workflow.inner import check_inner, inner_artifact
from idp_tf.workflow.making import made_artifact
from idp_tf.workflow.match import build_encoder, matcher_artifact
from idp_tf.workflow.needs import needed_bases, needs_matcher, systems_of, titled_domains
from idp_tf.workflow.prepare import data_key
from idp_tf.workflow.pretrain import pretrain_artifact
from idp_tf.workflow.recformer import (
    build_fresh_encoder,
    recformer_artifact,
    recformer_base_artifact,
)
from idp_tf.workflow.run import Run
from idp_tf.workflow.titles import titles_artifact
from idp_tf.workflow.transfer import transfer_artifact

_log = logging.getLogger(__name__)


def check_run(run: Run) -> None:
    """Refuses a run that can be told at once not to come to its end, or to fit its workdir.

    Without this, ``config.yaml`` would already hold the settings that a later stage refuses.

    Raises:
        SettingsError: for domains or systems that cannot be a run's.
        MissingDataError: for a domain or a text encoder that is not there.
        WorkdirError: if other settings or data made the workdir, unless a rebuild is asked for.
    """
    run.config.check()
    _warn_of_missing_twins(run)
    run.config.check_data()
    _note_artifacts(run)
    if not run.rebuild:
        for artifact in run.artifacts.values():
            artifact.check()
    if _has_kind(run, "inner"):
        check_inner(run)
    _try_encoders(run)


def _try_encoders(run: Run) -> None:
    """Builds the text encoders that something is still to be made by.

    Else one that cannot be had, or cannot do what is asked, shows only after pre-training, and a
    rebuild has taken the old matcher away by then.
    """
    encoded = [titles_artifact(run, name) for name in titled_domains(run)]
    if needs_matcher(run):
        encoded.append(matcher_artifact(run))
    if _has_kind(run, "inner"):
        encoded.append(inner_artifact(run))
    if not all(artifact.is_current for artifact in encoded):
        build_encoder(run)
    begun = [
        recformer_base_artifact(run) if system.takes_over else recformer_artifact(run, system)
        for system in systems_of(run)
        if system.kind == "recformer"
    ]
    if not all(artifact.is_current for artifact in begun):
        build_fresh_encoder(run)


def _has_kind(run: Run, kind: Kind) -> bool:
    return any(system.kind == kind for system in systems_of(run))


def add_tuning(run: Run) -> None:
    """Gives an old run that has none the grid of section 3.2, and ``config.yaml`` with it.

    Raises:
        WorkdirError: if models are there that were made without it, unless a rebuild is asked for.
    """
    settings = run.settings
    if settings.fine_tune.learning_rate_grid:
        return
    tuned = settings.fine_tune.model_copy(update={"learning_rate_grid": LEARNING_RATES})
    run.config = run.config.model_copy(
        update={"settings": settings.model_copy(update={"fine_tune": tuned})}
    )
    check_run(run)
    if run.is_chief:
        run.save_config()


def _warn_of_missing_twins(run: Run) -> None:
    """Says which systems' transfer cannot be judged by this run."""
    slugs = run.settings.systems
    missing: dict[str, list[str]] = {}
    for slug in slugs:
        twin = SYSTEMS[slug].twin
        if twin is not None and twin not in slugs:
            missing.setdefault(twin, []).append(slug)
    if missing:
        _log.warning(
            "whether transfer helps will not be shown, for want of a from-scratch twin: %s",
            "; ".join(f"add {twin} for {', '.join(of)}" for twin, of in missing.items()),
        )


def _note_artifacts(run: Run) -> None:
    """Makes all artifacts known to the run, in the order of the stages."""
    for name in (*run.config.sources, run.config.target):
        data_key(run, name)
    for name in titled_domains(run):
        titles_artifact(run, name)
    for base in needed_bases(run):
        pretrain_artifact(run, base)
    if needs_matcher(run):
        matcher_artifact(run)
        transfer_artifact(run)
    for system in systems_of(run):
        if system.kind != "floor":
            for seed in seeds_of(run, system.slug):
                made_artifact(run, system, seed)
    for slug, seed in evaluated(run):
        evaluation_artifact(run, slug, seed)
