"""Stage 4: embeddings of the target's items are generated, in ``target/<domain>/``.

``embeddings.npy`` and ``matches.parquet`` come from the tuned matcher; ``transfer/``
holds the same for zero-shot use and from the untuned encoder, and the title vectors of
the nearest-title floor, from all layers of the encoder, whatever the matcher keeps.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from idp_tf.data.domain import Domain
from idp_tf.retrieval import build_index, estimate_recall
from idp_tf.text import build_text_encoder
from idp_tf.transfer.generate import (
    GeneratedEmbeddings,
    Norm,
    find_untitled,
    generate_embeddings,
    write_matches,
)
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.match import load_matcher, matcher_artifact
from idp_tf.workflow.prepare import data_key, load_sources, load_target
from idp_tf.workflow.pretrain import load_pretrained
from idp_tf.workflow.run import Run

Float32Array = npt.NDArray[np.float32]

# Raised when the same inputs would make something else.
_FORMAT = 1


def transfer(run: Run) -> None:
    """Matches every target item and blends its matches' embeddings (eq. 8, 9)."""
    artifact = transfer_artifact(run)
    if artifact.open(rebuild=run.rebuild):
        return
    target = load_target(run)
    embeddings = load_pretrained(run).item_vectors().numpy()[1:]
    matcher = _Matching(run, target, embeddings, tuned=True)
    tuned = matcher.generate(run.settings.transfer.norm)
    zero_shot = matcher.generate(run.settings.transfer.zero_shot_norm)
    untuned = _Matching(run, target, embeddings, tuned=False).generate(run.settings.transfer.norm)

    for kind, generated in (("zero_shot", zero_shot), ("untuned", untuned)):
        np.save(artifact.folder / f"{kind}_embeddings.npy", generated.embeddings)
    np.save(artifact.folder / "title_vectors.npy", _title_vectors(run, target))
    _write_public_files(run, target, tuned)
    artifact.finish(
        items=target.num_items,
        untitled=int(tuned.untitled.sum()),
        retrieval_recall=matcher.recall,
        mean_best_score=float(tuned.scores[:, 0].mean()),
        mean_score=float(tuned.scores.mean()),
        mean_norm=float(np.linalg.norm(tuned.embeddings, axis=1).mean()),
        mean_source_norm=float(np.linalg.norm(embeddings, axis=1).mean()),
        share_by_source=_share_by_source(run, tuned),
    )


def transfer_artifact(run: Run) -> Artifact:
    """The artifact of this stage."""
    inputs: dict[str, Any] = {
        "format": _FORMAT,
        "matcher": matcher_artifact(run).key,
        "target": data_key(run, run.config.target),
        "transfer": run.settings.transfer.model_dump(mode="json"),
    }
    return run.artifact(run.target_dir / "transfer", "generated embeddings", inputs)


def load_generated(run: Run, kind: Literal["generated", "zero_shot", "untuned"]) -> Float32Array:
    """Embeddings of the target's items, (num_items, embedding_dim)."""
    artifact = transfer_artifact(run)
    artifact.require()
    folder = run.target_dir if kind == "generated" else artifact.folder
    name = "embeddings.npy" if kind == "generated" else f"{kind}_embeddings.npy"
    with artifact.reading(folder / name):
        embeddings: Float32Array = np.load(folder / name)
    return embeddings


def load_title_vectors(run: Run) -> Float32Array:
    """Title vectors of the target's items for the nearest-title floor, (num_items, width)."""
    artifact = transfer_artifact(run)
    artifact.require()
    file = artifact.folder / "title_vectors.npy"
    with artifact.reading(file):
        vectors: Float32Array = np.load(file)
    return vectors


class _Matching:
    """Target items against source items, by one of the two encoders."""

    def __init__(self, run: Run, target: Domain, embeddings: Float32Array, *, tuned: bool):
        self.settings = run.settings.transfer
        self.target = target
        self.embeddings = embeddings
        encoder, source_vectors = load_matcher(run, tuned=tuned)
        kind = "tuned" if tuned else "untuned"
        self.vectors = encoder.encode(target.titles, description=f"Target titles, {kind}")
        self.index = build_index(
            np.asarray(source_vectors), self.settings.retrieval, k=self.settings.top_m
        )
        self.recall = estimate_recall(self.index, self.vectors, self.settings.top_m)

    def generate(self, norm: Norm) -> GeneratedEmbeddings:
        """Matches and blends (eq. 8, 9)."""
        return generate_embeddings(
            self.vectors,
            self.index,
            self.embeddings,
            top_m=self.settings.top_m,
            norm=norm,
            untitled=find_untitled(self.target.titles),
        )


def _title_vectors(run: Run, target: Domain) -> Float32Array:
    settings = run.settings.matcher
    whole = build_text_encoder(settings.encoder, settings.pooling, settings.title_length)
    return whole.encode(target.titles, description="Target titles, nearest-title floor")


def _write_public_files(run: Run, target: Domain, generated: GeneratedEmbeddings) -> None:
    partial = run.target_dir / "embeddings.partial.npy"
    np.save(partial, generated.embeddings)
    partial.replace(run.target_dir / "embeddings.npy")
    write_matches(run.target_dir / "matches.parquet", generated, target, load_sources(run))


def _share_by_source(run: Run, generated: GeneratedEmbeddings) -> dict[str, float]:
    """How much of all weight each source domain carries."""
    sources = load_sources(run)
    matched = generated.rows >= 0
    owners = sources.domain_of(generated.rows[matched] + 1)
    weight = np.bincount(owners, generated.weights[matched], minlength=len(sources.domains))
    return dict(zip(sources.names, (weight / max(weight.sum(), 1e-12)).tolist(), strict=True))
