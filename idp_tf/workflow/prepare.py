"""Stage 1: raw domains become prepared ones, in ``data/<domain>/``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idp_tf.data.domain import Domain, MergedDomains
from idp_tf.data.prepare import prepare_domain
from idp_tf.data.readers import ReadOptions, SourceFile, find_domain, read_domain
from idp_tf.data.store import MANIFEST, load_domain, write_domain
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.prepared_checks import check_prepared
from idp_tf.workflow.run import Run

_log = logging.getLogger(__name__)

_FRESH = ".fresh"

# Raised when the same inputs would make something else.
_FORMAT = 2


def prepare(run: Run) -> None:
    """Prepares the sources and the target (section 3.1).

    Writes ``data/<domain>/``: sequences, items, users and ``manifest.json``.

    Raises:
        DataError: if a domain cannot be read, or is too small for the later stages.
        SettingsError: if the settings ask too much of the domains.
    """
    run.config.check()
    run.save_config()
    for name in (*run.config.sources, run.config.target):
        artifact = _artifact(run, name)
        if artifact.open(rebuild=run.rebuild):
            continue
        settings = run.settings.prepare
        is_target = name == run.config.target
        domain = prepare_domain(
            read_domain(run.config.data, name, _read_options(run)),
            k_core=settings.target_k_core if is_target else settings.source_k_core,
            ties=settings.ties,
            seed=run.settings.seed,
        )
        write_prepared(domain, artifact.folder)
        counts = {
            "users": domain.sequences.num_users,
            "items": domain.num_items,
            "interactions": domain.sequences.num_interactions,
        }
        _log.info("%s: %s", name, ", ".join(f"{n:,} {what}" for what, n in counts.items()))
        artifact.finish(**counts)
    check_prepared(run.settings, load_target(run), load_sources(run))


def load_target(run: Run) -> Domain:
    """The prepared target domain."""
    return load_domain_of(run, run.config.target)


def load_sources(run: Run, names: Sequence[str] | None = None) -> MergedDomains:
    """The prepared source domains, merged in the order of the config (section 2.3).

    Args:
        run: The run.
        names: Some of them; all if not given.
    """
    return MergedDomains.of([load_domain_of(run, name) for name in names or run.config.sources])


def data_key(run: Run, name: str) -> str:
    """The key of a prepared domain, for whatever is made from it."""
    return _artifact(run, name).key


def load_domain_of(run: Run, name: str) -> Domain:
    """One prepared domain."""
    artifact = _artifact(run, name)
    artifact.require()
    return load_domain(artifact.folder)


def write_prepared(domain: Domain, folder: Path) -> None:
    """Writes a domain beside what the artifact keeps in its folder; the manifest comes last."""
    fresh = folder / _FRESH
    write_domain(domain, fresh)
    for file in sorted(fresh.iterdir(), key=lambda file: (file.name == MANIFEST, file.name)):
        file.replace(folder / file.name)
    fresh.rmdir()


def _artifact(run: Run, name: str) -> Artifact:
    folder = run.workdir / "data" / name
    if folder in run.artifacts:  # hashing the files once is enough
        return run.artifacts[folder]
    settings = run.settings.prepare
    is_target = name == run.config.target
    inputs: dict[str, Any] = {
        "format": _FORMAT,
        "files": _file_hashes(run.config.data, name),
        "k_core": settings.target_k_core if is_target else settings.source_k_core,
        "ties": settings.ties,
        "unknown_items": settings.unknown_items,
        "repeated_items": settings.repeated_items,
        "seed": run.settings.seed if settings.ties == "random" else None,
    }
    if settings.columns:  # a workdir of before there was this setting stays valid
        inputs["columns"] = settings.columns
    return run.artifact(folder, f"data of {name}", inputs)


def _read_options(run: Run) -> ReadOptions:
    settings = run.settings.prepare
    return ReadOptions(
        unknown_items=settings.unknown_items,
        repeated_items=settings.repeated_items,
        columns=dict(settings.columns.items()),
    )


def _file_hashes(data: Path, name: str) -> dict[str, str]:
    """SHA-256 of the files that a domain is read from; what else lies there decides nothing."""
    _, *files = find_domain(data, name)
    return {file.name: SourceFile.of(file).sha256 for file in sorted(files)}
