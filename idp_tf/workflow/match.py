"""Stage 3: the Cross-domain ID Matcher is tuned, in ``matcher/``.

Files: ``neighbours.npy`` (behaviour neighbours), ``untuned/`` and ``tuned/``, each
with the encoder and the vectors of all source items.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from idp_tf.data.domain import MergedDomains
from idp_tf.text import (
    TextEncoder,
    behaviour_neighbours,
    build_text_encoder,
    example_matches,
    hold_out,
    neighbour_recall,
    tune_matcher,
)
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.prepare import load_sources
from idp_tf.workflow.pretrain import load_pretrained, pretrain_artifact
from idp_tf.workflow.run import Run

RECALL_AT = 10
EXAMPLES = 6
Float32Array = npt.NDArray[np.float32]


def match(run: Run) -> None:
    """Tunes the matcher and encodes every source title, tuned and untuned (section 2.4)."""
    artifact = matcher_artifact(run)
    if artifact.open(rebuild=run.rebuild):
        return
    settings, seed = run.settings.matcher, run.settings.seed
    merged = load_sources(run)
    neighbours = _neighbours(run, artifact, merged)

    encoder = build_encoder(run)
    untuned = _encode(encoder, merged.titles, artifact.folder / "untuned", "untuned encoder")
    tuning = tune_matcher(
        encoder,
        merged.titles,
        neighbours,
        settings,
        seed=seed,
        folder=artifact.folder / "tuning",
        tensorboard_dir=run.logs_dir / "matcher",
        item_offsets=merged.item_offsets if settings.neighbour_scope == "domain" else None,
    )
    tuned = _encode(encoder, merged.titles, artifact.folder / "tuned", "tuned encoder")

    held_out = hold_out(merged.num_items, settings.held_out, seed)
    recalls = {
        name: neighbour_recall(vectors, neighbours, held_out, merged.item_offsets, k=RECALL_AT)
        for name, vectors in (("recall_untuned", untuned), ("recall_tuned", tuned))
    }
    examples = example_matches(
        merged.titles,
        neighbours,
        untuned,
        tuned,
        held_out,
        merged.item_offsets,
        num_examples=EXAMPLES,
        seed=seed,
    )
    artifact.finish(
        **recalls,
        recall_at=RECALL_AT,
        held_out_items=len(held_out),
        tuned_items=tuning.num_anchors,
        examples=[asdict(example) for example in examples],
        history=list(tuning.history),
    )


def matcher_artifact(run: Run) -> Artifact:
    """The artifact of this stage."""
    inputs: dict[str, Any] = {
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
    file = folder / "vectors.npy"
    with artifact.reading(file):
        vectors = np.load(file, mmap_mode="r")
    return TextEncoder.load(folder / "encoder"), vectors


def _neighbours(run: Run, artifact: Artifact, merged: MergedDomains) -> npt.NDArray[np.int32]:
    file = artifact.folder / "neighbours.npy"
    if file.is_file():
        found: npt.NDArray[np.int32] = np.load(file)
        return found
    settings = run.settings.matcher
    embeddings = load_pretrained(run).item_vectors().numpy()[1:]
    neighbours = behaviour_neighbours(
        embeddings, merged.item_offsets, settings.neighbours, settings.neighbour_scope
    )
    _save_array(file, neighbours)
    return neighbours


def _encode(encoder: TextEncoder, titles: list[str], folder: Path, name: str) -> Float32Array:
    """Saves an encoder and its vectors; what is there already is read."""
    folder.mkdir(exist_ok=True)
    file = folder / "vectors.npy"
    if not file.is_file():
        encoder.save(folder / "encoder")
        parts = folder / "parts"
        vectors = encoder.encode(titles, resume_dir=parts, description=f"Titles, {name}")
        _save_array(file, vectors)
        shutil.rmtree(parts, ignore_errors=True)
    stored: Float32Array = np.load(file, mmap_mode="r")
    return stored


def _save_array(file: Path, array: npt.NDArray[Any]) -> None:
    partial = file.with_suffix(".partial.npy")
    np.save(partial, array)
    partial.replace(file)
