"""Stage 3: the Cross-domain ID Matcher is tuned, in ``matcher/``.

Files: ``neighbours.npy`` (behaviour neighbours), ``untuned/`` and ``tuned/``, each
with the encoder and the vectors of all source items.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from idp_tf.config import MatcherSettings
from idp_tf.models import SequenceModel
from idp_tf.text import (
    TextEncoder,
    behaviour_neighbours,
    build_text_encoder,
    hold_out,
    tune_matcher,
)
from idp_tf.transfer.generate import find_untitled
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.judge import judge_matcher, share_across_domains
from idp_tf.workflow.known_items import KnownItems, find_known_items
from idp_tf.workflow.needs import needs_matcher
from idp_tf.workflow.prepare import load_sources
from idp_tf.workflow.pretrain import load_pretrained, pretrain_artifact
from idp_tf.workflow.run import Run
from idp_tf.workflow.titles import load_title_vectors

Float32Array = npt.NDArray[np.float32]

# Raised when the same inputs would make something else.
_FORMAT = 3
_VECTORS = "vectors.npy"


def match(run: Run) -> None:
    """Tunes the matcher and encodes every source title, tuned and untuned (section 2.4)."""
    if not needs_matcher(run):
        return
    artifact = matcher_artifact(run)
    if artifact.open(rebuild=run.rebuild):
        return
    settings, seed = run.settings.matcher, run.settings.seed
    merged = load_sources(run)
    known = find_known_items(merged, settings)
    neighbours = _stored_neighbours(run, artifact, known)

    encoder = build_encoder(run)
    if settings.kept_layers is None:  # then these are the vectors that text systems read
        _store(encoder, load_title_vectors(run, *merged.names), artifact.folder / "untuned")
    untuned = _encode(encoder, merged.titles, artifact.folder / "untuned", "untuned encoder")
    tuning = tune_matcher(
        encoder,
        merged.titles,
        known.spread(neighbours, merged.num_items),
        settings,
        seed=seed,
        folder=artifact.folder / "tuning",
        tensorboard_dir=run.logs_dir / "matcher",
        item_offsets=merged.item_offsets if settings.neighbour_scope == "domain" else None,
        untuned=untuned,
    )
    tuned = _encode(encoder, merged.titles, artifact.folder / "tuned", "tuned encoder")

    figures = judge_matcher(
        known,
        neighbours,
        hold_out(merged.num_items, settings.held_out, seed),
        merged.titles,
        untuned,
        tuned,
        seed,
    )
    if settings.neighbour_scope == "all":
        figures["neighbours_across_domains"] = share_across_domains(known, neighbours, merged)
    artifact.finish(**figures, tuned_items=tuning.num_anchors, history=list(tuning.history))


def matcher_artifact(run: Run) -> Artifact:
    """The artifact of this stage."""
    inputs: dict[str, Any] = {
        "format": _FORMAT,
        "pretrain": pretrain_artifact(run).key,
        "matcher": run.settings.matcher.model_dump(mode="json"),
        "seed": run.settings.seed,
    }
    return run.artifact(run.workdir / "matcher", "matcher", inputs)


def build_encoder(run: Run) -> TextEncoder:
    """The encoder as it was before tuning, with the layers that the settings keep."""
    settings = run.settings.matcher
    return build_text_encoder(
        settings.encoder, settings.pooling, settings.title_length, settings.kept_layers
    )


def load_matcher(run: Run, *, tuned: bool = True) -> tuple[TextEncoder, Float32Array]:
    """An encoder and the vectors of the source items, (num_source_items, width)."""
    artifact = matcher_artifact(run)
    artifact.require()
    folder = artifact.folder / ("tuned" if tuned else "untuned")
    file = folder / _VECTORS
    with artifact.reading(file):
        vectors = np.load(file, mmap_mode="r")
    return TextEncoder.load(folder / "encoder"), vectors


def find_neighbours(
    model: SequenceModel, known: KnownItems, settings: MatcherSettings
) -> npt.NDArray[np.int32]:
    """Behaviour neighbours of the known items by the pre-trained model, by rows among them."""
    embeddings = model.item_vectors().numpy()[1:][known.rows]
    # The scope is in the offsets already.
    return behaviour_neighbours(embeddings, known.offsets, settings.neighbours, "domain")


def _stored_neighbours(run: Run, artifact: Artifact, known: KnownItems) -> npt.NDArray[np.int32]:
    file = artifact.folder / "neighbours.npy"
    if not file.is_file():
        _save_array(file, find_neighbours(load_pretrained(run), known, run.settings.matcher))
    found: npt.NDArray[np.int32] = np.load(file)
    return found


def _encode(encoder: TextEncoder, titles: list[str], folder: Path, name: str) -> Float32Array:
    """Saves an encoder and its vectors; what is there already is read."""
    file = folder / _VECTORS
    if not file.is_file():
        parts = folder / "parts"
        vectors = encoder.encode(titles, resume_dir=parts, description=f"Titles, {name}")
        # Nothing is like an item without a title.
        vectors[find_untitled(titles)] = 0
        _store(encoder, vectors, folder)
        shutil.rmtree(parts, ignore_errors=True)
    stored: Float32Array = np.load(file, mmap_mode="r")
    return stored


def _store(encoder: TextEncoder, vectors: Float32Array, folder: Path) -> None:
    if not (folder / _VECTORS).is_file():
        folder.mkdir(exist_ok=True)
        encoder.save(folder / "encoder")
        _save_array(folder / _VECTORS, vectors)


def _save_array(file: Path, array: npt.NDArray[Any]) -> None:
    partial = file.with_suffix(".partial.npy")
    np.save(partial, array)
    partial.replace(file)
