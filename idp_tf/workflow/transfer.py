"""Stage 4: target items are matched, and embeddings generated, in ``target/<domain>/``.

``embeddings.npy`` and ``matches.parquet`` come from the tuned matcher. ``transfer/`` holds the
matches of both encoders, from which embeddings of any base are blended when they are asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from idp_tf.data.domain import Domain
from idp_tf.retrieval import Matches, build_index, estimate_recall
from idp_tf.systems import Base, Embeddings
from idp_tf.transfer.generate import (
    GeneratedEmbeddings,
    blend_all,
    find_untitled,
    write_matches,
)
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.match import load_matcher, matcher_artifact
from idp_tf.workflow.needs import needs_matcher
from idp_tf.workflow.prepare import data_key, load_sources, load_target
from idp_tf.workflow.pretrain import load_pretrained
from idp_tf.workflow.run import Run

Float32Array = npt.NDArray[np.float32]

# Raised when the same inputs would make something else.
_FORMAT = 2


def transfer(run: Run) -> None:
    """Matches every target item and blends its matches' embeddings (eq. 8, 9)."""
    if not needs_matcher(run):
        return
    artifact = transfer_artifact(run)
    if artifact.open(rebuild=run.rebuild):
        return
    target = load_target(run)
    recall = _match_items(run, target, artifact, "tuned")
    _match_items(run, target, artifact, "untuned")
    embeddings = load_pretrained(run).item_vectors().numpy()[1:]
    tuned = _blend(run, target, artifact, embeddings, "generated")
    _write_public_files(run, target, tuned)
    artifact.finish(
        items=target.num_items,
        untitled=int(tuned.untitled.sum()),
        retrieval_recall=recall,
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


def load_generated(run: Run, base: Base, kind: Embeddings) -> Float32Array:
    """Embeddings of the target's items, (num_items, embedding_dim), blended from a base's.

    Args:
        run: The run.
        base: Whose table of ids is blended; matched all the same by the one matcher.
        kind: ``generated``, ``zero_shot`` or ``untuned``; see ``System``.
    """
    artifact = transfer_artifact(run)
    artifact.require()
    table = load_pretrained(run, base).item_embedding
    assert table is not None
    return _blend(run, load_target(run), artifact, table.embeddings.numpy()[1:], kind).embeddings


def _match_items(run: Run, target: Domain, artifact: Artifact, encoder_kind: str) -> float:
    """Writes the matches of all target items by one of the two encoders; their recall."""
    settings = run.settings.transfer
    encoder, source_vectors = load_matcher(run, tuned=encoder_kind == "tuned")
    vectors = encoder.encode(target.titles, description=f"Target titles, {encoder_kind}")
    index = build_index(np.asarray(source_vectors), settings.retrieval, k=settings.top_m)
    found = index.query(vectors, settings.top_m)
    np.savez(artifact.folder / f"{encoder_kind}.npz", scores=found.scores, rows=found.rows)
    return estimate_recall(index, vectors, settings.top_m)


def _blend(
    run: Run, target: Domain, artifact: Artifact, source_embeddings: Float32Array, kind: Embeddings
) -> GeneratedEmbeddings:
    file = artifact.folder / ("untuned.npz" if kind == "untuned" else "tuned.npz")
    settings = run.settings.transfer
    with artifact.reading(file), np.load(file) as stored:
        found = Matches(stored["scores"], stored["rows"])
    return blend_all(
        found,
        source_embeddings,
        norm=settings.zero_shot_norm if kind == "zero_shot" else settings.norm,
        untitled=find_untitled(target.titles),
    )


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
