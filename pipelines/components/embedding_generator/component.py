"""EmbeddingGenerator: ID embeddings of the target's items (eq. 8 and 9).

Reads ``index``, the source items' title vectors; ``inference_result`` and ``items`` of the
target domain; and ``model``, the pre-trained one, whose item embeddings are blended. Looks up
``previous``, the last embeddings of the domain. Writes ``embeddings``::

    embeddings.npy    (items, d) float32, by internal id
    title_vectors.npy (items, width) float32, by internal id
    items.parquet     item_id and title_digest, by internal id
    matches.parquet   target_item, source_item, source_domain, both titles, score, weight
    matches.npz       rows of the index and scores, (items, top_m), by internal id
    made_from.json    the index, the encoder and top_m: what decides the matches

An item that ``previous`` holds with the same title keeps its matches, if index, encoder and
``top_m`` are the same; only new items and changed titles are matched. Blending, which takes far
less, is done for all items, so that embeddings are always those of the model at hand.

Held in memory: vectors and embeddings of the target, embeddings and titles of the sources.

Raises:
    DataError: if vectors and items do not belong together, the model lacks an item of the
        index, or the last run's matches are damaged.
    SettingsError: if the index was built for fewer than ``top_m`` matches.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from idp_tf.errors import DataError
from pipelines.artifacts import EMBEDDINGS, INDEX, INFERENCE_RESULT, ITEMS, MODEL, Artifact
from pipelines.component import Component, Execution, Parameters
from pipelines.components.bulk_inferrer.files import read_encoder, title_digest
from pipelines.components.embedding_generator.matching import (
    Matched,
    load_previous,
    match_items,
    write_matching,
)
from pipelines.components.index_builder.component import load_items, place_vectors
from pipelines.components.index_builder.files import ItemIndex

if TYPE_CHECKING:
    from idp_tf.data.domain import Domain
    from idp_tf.transfer.generate import GeneratedEmbeddings

_LOG = logging.getLogger("pipelines.EmbeddingGenerator")


class EmbeddingGeneratorParameters(Parameters):
    """How matches become embeddings."""

    top_m: int = Field(10, ge=1, description="Source items for each target item.")
    norm: Literal["none", "matches"] = Field(
        "none",
        description="'none' is eq. 9; 'matches' stretches a blend to its matches' mean norm.",
    )


class EmbeddingGenerator(Component[EmbeddingGeneratorParameters]):
    """See the module."""

    name: ClassVar[str] = "EmbeddingGenerator"
    version: ClassVar[int] = 2
    inputs: ClassVar = {
        "index": INDEX,
        "inference_result": INFERENCE_RESULT,
        "items": ITEMS,
        "model": MODEL,
    }
    resolved: ClassVar = {"previous": EMBEDDINGS}
    outputs: ClassVar = {"embeddings": EMBEDDINGS}
    parameters: ClassVar = EmbeddingGeneratorParameters

    def execute(self, execution: Execution[EmbeddingGeneratorParameters]) -> None:
        """Matches, blends, and writes."""
        from idp_tf.transfer.generate import blend_all, find_untitled

        given, output = execution.parameters, execution.outputs["embeddings"]
        index = ItemIndex.load(execution.one("index").uri)
        target = load_items(execution.one("items"))
        sources = _source_embeddings(execution.one("model"), index)
        vectors = _title_vectors(execution, target)
        matched = _match(execution, index, target, vectors)
        untitled = find_untitled(target["title"].to_list())
        generated = blend_all(matched.matches, sources, norm=given.norm, untitled=untitled)
        np.save(output.uri / "embeddings.npy", generated.embeddings)
        np.save(output.uri / "title_vectors.npy", vectors)
        _write_matches(output.uri / "matches.parquet", generated, target, index)
        write_matching(output.uri, _keys(target), matched.matches, _made_from(execution))
        output.fingerprint = _fingerprint(execution, target)
        figures = {
            "items": len(target),
            "generated": int((~matched.kept).sum()),
            "reused": int(matched.kept.sum()),
            "untitled": generated.num_untitled,
        }
        domain = execution.one("items").properties.get("domain")
        output.properties.update(domain=domain, **figures)
        output.properties.update(_quality(generated, sources, index))
        execution.counters.update(figures)
        _LOG.debug("%s: %s", execution.node_id, output.properties)


def _title_vectors(
    execution: Execution[EmbeddingGeneratorParameters], target: pl.DataFrame
) -> npt.NDArray[np.float32]:
    result = execution.one("inference_result")
    vectors = np.zeros((len(target), read_encoder(result.uri)["width"]), np.float32)
    place_vectors(result, target, vectors)
    return vectors


def _match(
    execution: Execution[EmbeddingGeneratorParameters],
    index: ItemIndex,
    target: pl.DataFrame,
    vectors: npt.NDArray[np.float32],
) -> Matched:
    previous = load_previous(execution.maybe("previous"), _made_from(execution))
    return match_items(index, vectors, _keys(target), execution.parameters.top_m, previous)


def _made_from(execution: Execution[EmbeddingGeneratorParameters]) -> dict[str, Any]:
    """What decides the matches of a title."""
    return {
        "index": execution.one("index").fingerprint,
        "encoder": read_encoder(execution.one("inference_result").uri)["fingerprint"],
        "top_m": execution.parameters.top_m,
    }


def _keys(target: pl.DataFrame) -> pl.DataFrame:
    digests = [title_digest(title) for title in target["title"]]
    return target.select("item_id", pl.Series("title_digest", digests, dtype=pl.String))


def _source_embeddings(model: Artifact, index: ItemIndex) -> npt.NDArray[np.float32]:
    """The pre-trained embeddings in the order of the index, (source items, d)."""
    from idp_tf.workflow.trainer_modules import load_trained

    trained, items = load_trained(model.uri / "Format-Serving")
    rows = items.select("domain", "item_id").with_row_index("row")
    joined = index.items.join(rows, on=["domain", "item_id"], how="left", maintain_order="left")
    unknown = joined.filter(pl.col("row").is_null())
    if len(unknown):
        domain, item = unknown.select("domain", "item_id").row(0)
        raise DataError(
            f"the model has no item {item!r} of {domain!r}, which the index has; "
            f"{len(unknown)} are missing",
            where=model.uri,
            remedy="pre-train and build the index on the same items",
        )
    vectors: npt.NDArray[np.float32] = trained.item_vectors().numpy()[1:]
    return vectors[joined["row"].to_numpy()]


def _write_matches(
    file: Path, generated: GeneratedEmbeddings, target: pl.DataFrame, index: ItemIndex
) -> None:
    from idp_tf.data.domain import MergedDomains
    from idp_tf.transfer.generate import write_matches

    tables = index.items.partition_by("domain", maintain_order=True)
    sources = MergedDomains.of([_as_domain(table) for table in tables])
    write_matches(file, generated, _as_domain(target), sources)


def _as_domain(table: pl.DataFrame) -> Domain:
    """Items without users."""
    from idp_tf.data.domain import Domain
    from idp_tf.data.schema import IdMap
    from idp_tf.data.sequences import Sequences

    nobody = Sequences(np.zeros(0, np.int32), np.zeros(1, np.int64))
    ids, titles = IdMap(table["item_id"].to_list()), table["title"].to_list()
    return Domain(table["domain"][0], ids, titles, [], nobody, {})


def _quality(
    generated: GeneratedEmbeddings, sources: npt.NDArray[np.float32], index: ItemIndex
) -> dict[str, Any]:
    """Figures as the library's report has them; similarities of the items that have a title."""
    titled = ~generated.untitled
    scores = generated.scores[titled] if titled.any() else np.zeros((1, 1), np.float32)
    weights = pl.DataFrame(
        {
            "domain": index.items["domain"].gather(generated.rows[titled].ravel()),
            "weight": generated.weights[titled].ravel(),
        }
    )
    shares = weights.group_by("domain").agg(pl.col("weight").sum()).sort("domain")
    total = max(float(shares["weight"].sum()), 1e-12)
    return {
        "mean_best_score": float(scores[:, 0].mean()),
        "mean_score": float(scores.mean()),
        "mean_norm": float(np.linalg.norm(generated.embeddings, axis=1).mean()),
        "mean_source_norm": float(np.linalg.norm(sources, axis=1).mean()),
        "share_by_source": {domain: weight / total for domain, weight in shares.iter_rows()},
    }


def _fingerprint(execution: Execution[EmbeddingGeneratorParameters], target: pl.DataFrame) -> str:
    """Over what decides the embeddings; their last bits may differ with the machine."""
    told = [
        _made_from(execution),
        execution.parameters.norm,
        execution.one("model").fingerprint,
        execution.one("inference_result").fingerprint,
    ]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for row in target.iter_rows():
        digest.update("\0".join(row).encode() + b"\n")
    return digest.hexdigest()
