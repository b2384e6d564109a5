"""What is looked at before a run does or writes anything."""

from __future__ import annotations

from idp_tf.data.readers import find_domain
from idp_tf.workflow.evaluate import evaluated, evaluation_artifact
from idp_tf.workflow.fine_tune import check_systems, seeds_of
from idp_tf.workflow.making import made_artifact
from idp_tf.workflow.match import build_encoder, matcher_artifact
from idp_tf.workflow.needs import needed_bases, needs_matcher, systems_of, titled_domains
from idp_tf.workflow.prepare import data_key
from idp_tf.workflow.pretrain import pretrain_artifact
from idp_tf.workflow.run import Run
from idp_tf.workflow.titles import titles_artifact
from idp_tf.workflow.transfer import transfer_artifact


def check_run(run: Run) -> None:
    """Refuses a run that can be told at once not to come to its end, or to fit its workdir.

    Without this, ``config.yaml`` would already hold the settings that a later stage refuses.

    Raises:
        SettingsError: for domains or systems that cannot be a run's.
        MissingDataError: for a domain or a text encoder that is not there.
        WorkdirError: if other settings or data made the workdir, unless a rebuild is asked for.
    """
    run.config.check()
    check_systems(run)
    for name in (*run.config.sources, run.config.target):
        find_domain(run.config.data, name)
    _note_artifacts(run)
    if not run.rebuild:
        for artifact in run.artifacts.values():
            artifact.check()
    encoded = [titles_artifact(run, name) for name in titled_domains(run)]
    if needs_matcher(run):
        encoded.append(matcher_artifact(run))
    if not all(artifact.is_current for artifact in encoded):
        # Else an encoder that cannot be had, or cannot do what is asked, shows only after
        # pre-training, and a rebuild has taken the old matcher away by then.
        build_encoder(run)


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
