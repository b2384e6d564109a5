"""Stage 4: embeddings of the target's items are generated, in ``target/<domain>/``.

``embeddings.npy`` and ``matches.parquet`` come from the tuned matcher; ``transfer/``
holds the same from the untuned encoder, and the title vectors of the nearest-title
floor, which the encoder gives with all of its layers, whatever the matcher keeps.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from idp_tf.data.domain import Domain
from idp_tf.errors import SettingsError
from idp_tf.retrieval import build_index, estimate_recall
from idp_tf.text import build_text_encoder
from idp_tf.transfer.generate import GeneratedEmbeddings, generate_embeddings, write_matches
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.match import load_matcher, matcher_artifact
from idp_tf.workflow.prepare import data_key, load_sources, load_target
from idp_tf.workflow.pretrain import load_pretrained
from idp_tf.workflow.run import Run

Float32Array = npt.NDArray[np.float32]


def transfer(run: Run) -> None:
    """Matches every target item and blends its matches' embeddings (eq. 8, 9)."""
    artifact = transfer_artifact(run)
    if artifact.open(rebuild=run.rebuild):
        return
    target = load_target(run)
    embeddings = load_pretrained(run).item_vectors().numpy()[1:]
    top_m = run.settings.transfer.top_m
    if top_m > len(embeddings):
        raise SettingsError(
            f"transfer.top_m is {top_m}, but the sources have only {len(embeddings)} items",
            remedy=f"set transfer.top_m to at most {len(embeddings)}",
        )
    tuned, recall = _generate(run, target, embeddings, tuned=True)
    untuned, _ = _generate(run, target, embeddings, tuned=False)

    np.save(artifact.folder / "untuned_embeddings.npy", untuned.embeddings)
    np.save(artifact.folder / "title_vectors.npy", _title_vectors(run, target))
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
        "matcher": matcher_artifact(run).key,
        "target": data_key(run, run.config.target),
        "transfer": run.settings.transfer.model_dump(mode="json"),
    }
    return run.artifact(run.target_dir / "transfer", "generated embeddings", inputs)


def load_generated(run: Run, kind: Literal["generated", "untuned"]) -> Float32Array:
    """Embeddings of the target's items, (num_items, embedding_dim)."""
    artifact = transfer_artifact(run)
    artifact.require()
    folder = run.target_dir if kind == "generated" else artifact.folder
    name = "embeddings.npy" if kind == "generated" else "untuned_embeddings.npy"
    embeddings: Float32Array = np.load(folder / name)
    return embeddings


def load_title_vectors(run: Run) -> Float32Array:
    """Title vectors of the target's items for the nearest-title floor, (num_items, width)."""
    artifact = transfer_artifact(run)
    artifact.require()
    vectors: Float32Array = np.load(artifact.folder / "title_vectors.npy")
    return vectors


def untitled_items(domain: Domain) -> npt.NDArray[np.bool_]:
    """True where an item has no title, (num_items,)."""
    return np.array([not title.strip() for title in domain.titles])


def _generate(
    run: Run, target: Domain, embeddings: Float32Array, *, tuned: bool
) -> tuple[GeneratedEmbeddings, float]:
    settings = run.settings.transfer
    encoder, source_vectors = load_matcher(run, tuned=tuned)
    kind = "tuned" if tuned else "untuned"
    vectors = encoder.encode(target.titles, description=f"Target titles, {kind}")
    index = build_index(np.asarray(source_vectors), settings.retrieval, k=settings.top_m)
    recall = estimate_recall(index, vectors, settings.top_m)
    generated = generate_embeddings(
        vectors,
        index,
        embeddings,
        top_m=settings.top_m,
        norm=settings.norm,
        untitled=untitled_items(target),
    )
    return generated, recall


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
