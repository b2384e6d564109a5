"""Exports that read titles: the matcher, and recommendations to histories of titles."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from idp_tf.models import SequenceModel
from idp_tf.retrieval import Index, Method, build_index
from idp_tf.systems import System
from idp_tf.text import TextEncoder
from idp_tf.transfer.generate import Norm
from idp_tf.workflow.export_versions import (
    enough_for_scann,
    export_key,
    is_exported,
    log_export,
    note_version,
    warn_of_another,
)
from idp_tf.workflow.making import load_recommender, made_artifact
from idp_tf.workflow.match import load_matcher, matcher_artifact
from idp_tf.workflow.needs import needs_matcher
from idp_tf.workflow.prepare import load_sources, load_target
from idp_tf.workflow.pretrain import load_pretrained
from idp_tf.workflow.run import Run

if TYPE_CHECKING:
    from serving.export import SourceItems

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Matching:
    """What titles are matched by, as the exports take it."""

    encoder: TextEncoder
    index: Index
    source_embeddings: npt.NDArray[np.float32]
    norm: Norm


def write_matchers(run: Run, folder: Path) -> None:
    """Exports the matcher of a run that has one."""
    if not needs_matcher(run):
        return
    _write_matcher(run, folder, "matcher", "exact")
    if enough_for_scann("matcher_scann", load_sources(run).num_items):
        _write_matcher(run, folder, "matcher_scann", "scann")


def _write_matcher(run: Run, folder: Path, name: str, method: Method) -> None:
    from serving.export import export_matcher

    key = matching_key(run)
    if is_exported(folder, name, key):
        return
    matching = load_matching(run, None, method)
    note_version(folder, name, key)
    version = export_matcher(
        matching.encoder,
        matching.index,
        matching.source_embeddings,
        source_items(run),
        folder,
        top_m=run.settings.transfer.top_m,
        norm=matching.norm,
    )
    log_export(version)


def source_items(run: Run) -> SourceItems:
    """What the matcher's answers call the source items."""
    from serving.export import SourceItems

    merged = load_sources(run)
    domains = [domain.name for domain in merged.domains for _ in range(domain.num_items)]
    return SourceItems(merged.external_ids, merged.titles, domains)


def write_cold_starts(run: Run, folder: Path, system: System) -> None:
    """Exports a system that can recommend to titles: one whose table of ids was generated."""
    if not starts_cold(system):
        _log.warning(
            "no cold_start is exported for %s: titles have the embeddings that are generated for "
            "them, which a system can read whose own were generated, and that reads ids alone",
            system.slug,
        )
        return
    _write_cold_start(run, folder, system, "cold_start", "exact")
    if enough_for_scann("cold_start_scann", load_sources(run).num_items):
        _write_cold_start(run, folder, system, "cold_start_scann", "scann")


def starts_cold(system: System) -> bool:
    """Whether embeddings that are generated for titles mean to the system what its own do."""
    return system.kind == "sequence" and system.is_matched and not system.reads_titles


def _write_cold_start(run: Run, folder: Path, system: System, name: str, method: Method) -> None:
    from serving.export import TitleMatcher, export_cold_start

    target = load_target(run)
    key = cold_start_key(run, system)
    about = {"domain": target.name, "system": system.slug, "seed": run.settings.seed}
    if is_exported(folder, name, key):
        return
    matching = load_matching(run, system, method)
    model = load_recommender(run, system, run.settings.seed)
    assert isinstance(model, SequenceModel), system.slug
    warn_of_another(folder, name, about)
    note_version(folder, name, key, about)
    matcher = TitleMatcher(
        matching.encoder,
        matching.index,
        matching.source_embeddings,
        run.settings.transfer.top_m,
        matching.norm,
    )
    log_export(export_cold_start(matcher, model, target.item_ids, folder, about=about))


def cold_start_key(run: Run, system: System) -> str:
    """The key of an exported ``cold_start``."""
    return export_key(made_artifact(run, system, run.settings.seed).key, matching_key(run))


def matching_key(run: Run) -> str:
    """The key of the exported matcher."""
    return export_key(matcher_artifact(run).key, run.settings.transfer.model_dump_json())


def load_matching(run: Run, system: System | None, method: Method) -> Matching:
    """What the matcher matches by or, given a system, what its own embeddings were made by."""
    settings = run.settings.transfer
    kind = "generated" if system is None else system.embeddings
    encoder, vectors = load_matcher(run, tuned=kind != "untuned")
    base = None if system is None else system.base
    pretrained = load_pretrained(run) if base is None else load_pretrained(run, base)
    table = pretrained.item_embedding
    assert table is not None
    return Matching(
        encoder,
        build_index(np.asarray(vectors), method, k=settings.top_m),
        table.embeddings.numpy()[1:],
        settings.zero_shot_norm if kind == "zero_shot" else settings.norm,
    )
