"""Stage 7: SavedModels for TF-Serving, in ``export/``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from idp_tf.errors import SettingsError, requires_extra
from idp_tf.systems import SYSTEMS, System
from idp_tf.workflow.export_titles import write_cold_starts, write_matchers
from idp_tf.workflow.export_versions import (
    enough_for_scann,
    export_key,
    is_exported,
    log_export,
    note_version,
    warn_of_another,
)
from idp_tf.workflow.making import load_recommender, made_artifact, models_of
from idp_tf.workflow.needs import needs_matcher
from idp_tf.workflow.prepare import load_target
from idp_tf.workflow.run import Run

if TYPE_CHECKING:
    from serving.export import TableDtype

_PREFERRED = ("idp", "idp-wo-encoder", "sasrec")

_log = logging.getLogger(__name__)


def require_serving() -> None:
    """Imports what the export needs; the stages before it do without.

    Raises:
        MissingDependencyError: if the extra ``serving`` is not installed.
    """
    with requires_extra("serving", purpose="the stage 'export'"):
        import serving.export
        import serving.saved_models  # noqa: F401


def export(run: Run, slug: str | None = None, table: TableDtype = "float32") -> Path:
    """Exports recommender and, where there can be, matcher and cold start, exact and with ScaNN.

    Too few items for ScaNN leave its form out, with a warning.

    The recommender has the run's first seed. A model that was exported from the same inputs
    is kept; another system, another target or other settings give a new version beside the
    old one.

    Args:
        run: The run, its models made.
        slug: The recommender's system; by default the first of idp, idp-wo-encoder and sasrec
            that the run has trained, failing those the first other system that it has trained.
        table: What the recommender's item vectors are stored as; see ``ItemTable``.

    Returns:
        ``export/models.config``.

    Raises:
        MissingDependencyError: if the extra ``serving`` is not installed.
        SettingsError: if the system is a floor or none of the run's, or none can be chosen.
    """
    require_serving()
    from serving.export import write_models_config

    run.config.check()
    system = _default_system(run) if slug is None else _named_system(run, slug)
    if system is None:
        raise _no_default(run)
    folder = _export_folder(run)
    _write_recommender(run, folder, system, table)
    write_matchers(run, folder)
    write_cold_starts(run, folder, system)
    return write_models_config(_export_folder(run))


def export_what_can_be(run: Run) -> None:
    """The export within a run of all stages, which a run without a trained model outlives.

    Then a warning says why there is no recommender, and the matcher, where there is one, is
    exported alone.

    Raises:
        MissingDependencyError: if the extra ``serving`` is not installed.
    """
    if _default_system(run) is not None:
        export(run)
        return
    error = _no_default(run)
    _log.warning("no recommender is exported: %s; %s", error.problem, error.remedy)
    if needs_matcher(run):
        require_serving()
        from serving.export import write_models_config

        write_matchers(run, _export_folder(run))
        write_models_config(_export_folder(run))


def _export_folder(run: Run) -> Path:
    folder = run.workdir / "export"
    folder.mkdir(exist_ok=True)
    return folder


def recommender_key(run: Run, system: System, table: TableDtype) -> str:
    """The key of an exported recommender."""
    return export_key(made_artifact(run, system, run.settings.seed).key, table)


def _write_recommender(run: Run, folder: Path, system: System, table: TableDtype) -> None:
    from serving.export import export_recommender

    target = load_target(run)
    key = recommender_key(run, system, table)
    about = {"domain": target.name, "system": system.slug, "seed": run.settings.seed}
    model = None
    for name, scann in (("recommender", False), ("recommender_scann", True)):
        if scann and not enough_for_scann(name, target.num_items):
            continue
        if not is_exported(folder, name, key):
            model = model or load_recommender(run, system, run.settings.seed)
            warn_of_another(folder, name, about)
            note_version(folder, name, key, {**about, "table": table})
            version = export_recommender(
                model,
                target.item_ids,
                folder,
                scann=scann,
                table=table,
                sequences=target.sequences,
                titles=target.titles,
                about=about,
            )
            log_export(version)


def _default_system(run: Run) -> System | None:
    trained = [system.slug for system in models_of(run) if system.trained]
    return next((SYSTEMS[slug] for slug in (*_PREFERRED, *trained) if slug in trained), None)


def _no_default(run: Run) -> SettingsError:
    return SettingsError(
        f"none of {', '.join(run.settings.systems)} is a model that is trained",
        where="systems",
        remedy=_how_to_export(run),
    )


def _named_system(run: Run, slug: str) -> System:
    system = next((system for system in models_of(run) if system.slug == slug), None)
    if system is None:
        named = slug in run.settings.systems
        raise SettingsError(
            f"{slug!r} ranks without a model, so it cannot be exported"
            if named
            else f"{slug!r} is not among the systems of this run",
            where="--system",
            remedy=_how_to_export(run),
        )
    return system


def _how_to_export(run: Run) -> str:
    slugs = [system.slug for system in models_of(run)]
    if slugs:
        return f"idp-tf export --system with one of {', '.join(slugs)}, or add others to systems"
    return "add idp, or sasrec, to systems"
