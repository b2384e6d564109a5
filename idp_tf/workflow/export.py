"""Stage 7: SavedModels for TF-Serving, in ``export/``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from idp_tf.errors import SettingsError, requires_extra
from idp_tf.retrieval import MIN_VECTORS, Method, build_index
from idp_tf.systems import SYSTEMS, System
from idp_tf.workflow.artifacts import read_json, write_json
from idp_tf.workflow.fine_tune import check_systems
from idp_tf.workflow.making import load_recommender, made_artifact, models_of
from idp_tf.workflow.match import load_matcher, matcher_artifact
from idp_tf.workflow.needs import needs_matcher
from idp_tf.workflow.prepare import load_sources, load_target
from idp_tf.workflow.pretrain import load_pretrained
from idp_tf.workflow.run import Run

VERSIONS_FILE = "versions.json"
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


def export(run: Run, slug: str | None = None) -> Path:
    """Exports the recommender and, where there is one, the matcher, in exact and ScaNN form.

    Too few items for ScaNN leave its form out, with a warning.

    The recommender has the run's first seed. A model that was exported from the same inputs
    is kept; another system, another target or other settings give a new version beside the
    old one.

    Args:
        run: The run, its models made.
        slug: The recommender's system; by default the first of idp, idp-wo-encoder and sasrec
            that the run has trained, failing those the first other system that it has trained.

    Returns:
        ``export/models.config``.

    Raises:
        MissingDependencyError: if the extra ``serving`` is not installed.
        SettingsError: if the system is a floor or none of the run's, or none can be chosen.
    """
    require_serving()
    from serving.export import write_models_config

    check_systems(run)
    system = _default_system(run) if slug is None else _named_system(run, slug)
    if system is None:
        raise _no_default(run)
    _write_recommender(run, _export_folder(run), system)
    _write_matchers(run, _export_folder(run))
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

        _write_matchers(run, _export_folder(run))
        write_models_config(_export_folder(run))


def _export_folder(run: Run) -> Path:
    folder = run.workdir / "export"
    folder.mkdir(exist_ok=True)
    return folder


def _write_recommender(run: Run, folder: Path, system: System) -> None:
    from serving.export import export_recommender

    target = load_target(run)
    key = made_artifact(run, system, run.settings.seed).key
    about = {"domain": target.name, "system": system.slug, "seed": run.settings.seed}
    model = None
    for name, scann in (("recommender", False), ("recommender_scann", True)):
        if scann and not _enough_for_scann(name, target.num_items):
            continue
        if not _is_exported(folder, name, key):
            model = model or load_recommender(run, system, run.settings.seed)
            _warn_of_another(folder, name, about)
            _note_version(folder, name, key, about)
            _log_export(
                export_recommender(model, target.item_ids, folder, scann=scann, about=about)
            )


def _write_matchers(run: Run, folder: Path) -> None:
    if not needs_matcher(run):
        return
    _write_matcher(run, folder, "matcher", "exact")
    if _enough_for_scann("matcher_scann", load_sources(run).num_items):
        _write_matcher(run, folder, "matcher_scann", "scann")


def _write_matcher(run: Run, folder: Path, name: str, method: Method) -> None:
    from serving.export import SourceItems, export_matcher

    settings = run.settings.transfer
    key = f"{matcher_artifact(run).key}-{settings.model_dump_json()}"
    if _is_exported(folder, name, key):
        return
    encoder, vectors = load_matcher(run)
    index = build_index(np.asarray(vectors), method, k=settings.top_m)
    embeddings = load_pretrained(run).item_vectors().numpy()[1:]
    merged = load_sources(run)
    domains = [domain.name for domain in merged.domains for _ in range(domain.num_items)]
    _note_version(folder, name, key)
    _log_export(
        export_matcher(
            encoder,
            index,
            embeddings,
            SourceItems(merged.external_ids, merged.titles, domains),
            folder,
            top_m=settings.top_m,
            norm=settings.norm,
        )
    )


def _enough_for_scann(name: str, num_items: int) -> bool:
    if num_items < MIN_VECTORS:
        _log.warning(
            "%s is not exported: ScaNN needs at least %d items, here are %d",
            name,
            MIN_VECTORS,
            num_items,
        )
    return num_items >= MIN_VECTORS


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


def _is_exported(folder: Path, name: str, key: str) -> bool:
    known = _noted_versions(folder).get(name)
    if known is None or known["key"] != key:
        return False
    whole = (folder / name / known["version"] / "saved_model.pb").is_file()
    if whole:
        _log.info("export of %s: version %s is reused", name, known["version"])
    return whole


def _warn_of_another(folder: Path, name: str, about: Mapping[str, Any]) -> None:
    latest = _noted_versions(folder).get(name, {})
    for what in ("domain", "system"):
        if latest.get(what, about[what]) != about[what]:
            _log.warning(
                "%s: the latest version, from which servers answer, becomes one of %s; version %s "
                "is of %s",
                name,
                about[what],
                latest["version"],
                latest[what],
            )


def _note_version(
    folder: Path, name: str, key: str, about: Mapping[str, Any] | None = None
) -> None:
    """Notes of what the next version will be made.

    Before it is written, and it appears by a rename: a kill between the two leaves a note
    of a version that is not there, which is written again under the same number. Noted
    afterwards, a version that was whole would be written a second time.
    """
    from serving.saved_models import list_versions

    versions = _noted_versions(folder)
    coming = max(list_versions(folder / name), default=0) + 1
    versions[name] = {"key": key, "version": str(coming), **(about or {})}
    write_json(folder / VERSIONS_FILE, versions)


def _noted_versions(folder: Path) -> dict[str, dict[str, Any]]:
    """What each model's latest version was made of, by the model's name."""
    file = folder / VERSIONS_FILE
    found: dict[str, dict[str, Any]] = read_json(file) if file.is_file() else {}
    return found


def _log_export(version: Path) -> None:
    _log.info("exported %s, version %s", version.parent.name, version.name)
