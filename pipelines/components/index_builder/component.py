"""IndexBuilder: retrieval over the title vectors of all source items.

Reads ``inference_result`` and ``items`` of every source domain, wired in one order. Writes
``index``::

    vectors.npy      (items, width) float32: each domain's items by internal id, domain by domain
    items.parquet    domain, item_id, title of each row
    index.json       retrieval, top_m, width
    Format-Serving/  only for ScaNN: a SavedModel, queries -> scores and rows (queries, top_m)

``exact`` compares with every vector and gives the same answers whenever it is built. ``scann``
clusters from a random start: one index always answers alike, two miss different matches where
they miss any. Its recall is estimated on a sample of the items themselves, each of which is
looked for among the others.

Held in memory: ids and titles of all items and one shard of vectors; for ScaNN all vectors.

Raises:
    DataError: if vectors and items do not belong together, or the recall is below
        ``min_recall``.
    SettingsError: if there are too few items for ScaNN or for ``top_m``.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from idp_tf.errors import DataError, SettingsError
from pipelines.artifacts import INDEX, INFERENCE_RESULT, ITEMS, Artifact
from pipelines.component import Component, Execution, Parameters
from pipelines.components.bulk_inferrer.files import (
    read_encoder,
    read_shards,
    shard_files,
    title_digest,
)
from pipelines.components.index_builder.files import INDEX_FILE, VECTORS_FILE, write_items

_LOG = logging.getLogger("pipelines.IndexBuilder")


class IndexBuilderParameters(Parameters):
    """How matches are found."""

    retrieval: Literal["exact", "scann"] = Field("exact", description="How matches are found.")
    top_m: int = Field(10, ge=1, description="Most matches that can be asked for.")
    min_recall: float = Field(
        0.8, ge=0, le=1, description="Least recall of a ScaNN index; below it nothing is made."
    )
    recall_sample: int = Field(256, ge=1, description="Items on which the recall is estimated.")


class IndexBuilder(Component[IndexBuilderParameters]):
    """See the module."""

    name: ClassVar[str] = "IndexBuilder"
    inputs: ClassVar = {"inference_result": INFERENCE_RESULT, "items": ITEMS}
    outputs: ClassVar = {"index": INDEX}
    parameters: ClassVar = IndexBuilderParameters

    def execute(self, execution: Execution[IndexBuilderParameters]) -> None:
        """Gathers vectors, and builds the index."""
        given, output = execution.parameters, execution.outputs["index"]
        pairs = _pairs(execution)
        tables = [load_items(items) for _, items in pairs]
        items = write_items(output.uri, tables)
        if given.top_m > len(items):
            raise SettingsError(
                f"top_m is {given.top_m}, but there are only {len(items)} source items",
                where="IndexBuilder.top_m",
                remedy="lower it, or add source domains",
            )
        width = _common_width([result for result, _ in pairs])
        _write_vectors(output.uri / VECTORS_FILE, [r for r, _ in pairs], tables, width)
        recall = _build(execution, output.uri)
        settings = {"retrieval": given.retrieval, "top_m": given.top_m, "width": width}
        text = json.dumps(settings, indent=1) + "\n"
        (output.uri / INDEX_FILE).write_text(text, encoding="utf-8")
        if given.retrieval == "exact":
            output.fingerprint = _fingerprint([r for r, _ in pairs], items, settings)
        output.properties.update(settings, items=len(items), recall=recall)
        execution.counters.update(items=len(items))
        _LOG.debug("%s: %d items, %s, recall %.4f", execution.node_id, len(items), settings, recall)

    def cache_inputs(self, parameters: IndexBuilderParameters) -> dict[str, Any]:
        """An exact index has no recall to be judged."""
        if parameters.retrieval == "exact":
            return parameters.model_dump(mode="json", include={"retrieval", "top_m"})
        return parameters.model_dump(mode="json")


def load_items(items: Artifact) -> pl.DataFrame:
    """An Items artifact by internal ids: ``domain``, ``item_id``, ``title``."""
    from idp_tf.data.examples import read_items
    from pipelines.examples import split_pattern

    ids, titles = read_items([split_pattern(items, "all")])
    name = str(items.properties["domain"])
    table = pl.DataFrame({"item_id": ids.external_ids, "title": titles})
    return table.select(pl.lit(name).alias("domain"), "item_id", "title")


def place_vectors(result: Artifact, table: pl.DataFrame, into: npt.NDArray[np.float32]) -> None:
    """Puts an inference result's vectors into the rows of the items, shard by shard.

    Args:
        result: The inference result.
        table: The items: ``item_id`` and ``title``.
        into: Shape (items, width).

    Raises:
        DataError: if the result is of other items or titles.
    """
    rows = table.select(
        "item_id", pl.Series("digest", [title_digest(title) for title in table["title"]])
    ).with_row_index("row")
    placed = 0
    for file in shard_files(result.uri):
        found = read_shards([file])
        if not found.item_ids:
            continue
        keys = pl.DataFrame({"item_id": found.item_ids, "digest": found.digests})
        joined = keys.join(rows, on=["item_id", "digest"], how="left", maintain_order="left")
        unknown = joined.filter(pl.col("row").is_null())
        if len(unknown):
            raise _other_items(result, f"the item {unknown['item_id'][0]!r} has another title")
        into[joined["row"].to_numpy()] = found.vectors
        placed += len(keys)
    if placed != len(table):
        raise _other_items(result, f"it holds {placed} of {len(table)} items")


def _other_items(result: Artifact, why: str) -> DataError:
    return DataError(
        f"the vectors are of other items: {why}",
        where=result.uri,
        remedy="wire the items from which BulkInferrer made them, or run it again",
    )


def _pairs(execution: Execution[IndexBuilderParameters]) -> list[tuple[Artifact, Artifact]]:
    results, items = execution.inputs["inference_result"], execution.inputs["items"]
    named = [[one.properties.get("domain") for one in given] for given in (results, items)]
    if named[0] != named[1]:
        raise DataError(
            f"the vectors are of the domains {named[0]}, the items of {named[1]}",
            where=execution.node_id,
            remedy="wire both in the same order",
        )
    return list(zip(results, items, strict=True))


def _common_width(results: Sequence[Artifact]) -> int:
    encoders = [read_encoder(result.uri) for result in results]
    made_by = {(encoder["fingerprint"], encoder["width"]) for encoder in encoders}
    if len(made_by) != 1:
        raise DataError(
            f"{len(made_by)} encoders made the vectors, and theirs cannot be compared",
            where=str(results[0].uri),
            remedy="run BulkInferrer of all domains with one model",
        )
    return int(encoders[0]["width"])


def _write_vectors(
    file: Path, results: Sequence[Artifact], tables: Sequence[pl.DataFrame], width: int
) -> None:
    shape = (sum(map(len, tables)), width)
    vectors = np.lib.format.open_memmap(file, "w+", np.float32, shape)
    begin = 0
    for result, table in zip(results, tables, strict=True):
        place_vectors(result, table, vectors[begin : begin + len(table)])
        begin += len(table)
    vectors.flush()


def _build(execution: Execution[IndexBuilderParameters], folder: Path) -> float:
    """Builds what has to be built; the recall."""
    given = execution.parameters
    if given.retrieval == "exact":
        return 1.0
    from idp_tf.retrieval import build_index
    from pipelines.components.index_builder.files import write_scann

    vectors = np.load(folder / VECTORS_FILE)
    # One more than is asked for, since the sampled items find themselves.
    index = build_index(vectors, "scann", min(given.top_m + 1, len(vectors)))
    recall = _recall(index, given)
    if recall < given.min_recall:
        raise DataError(
            f"the index finds {recall:.3f} of the exact matches, expected {given.min_recall}",
            where=execution.node_id,
            remedy="use exact retrieval, or lower min_recall",
        )
    write_scann(index, given.top_m, folder, execution.work / "scann")
    return recall


def _recall(index: Any, given: IndexBuilderParameters) -> float:
    """Of an item's ``top_m`` nearest others, how many the index finds."""
    from idp_tf.retrieval import estimate_recall

    titled = np.flatnonzero(np.linalg.norm(index.vectors, axis=1) > 0)
    if not len(titled) or index.k == 1:
        return 1.0
    chosen = np.random.default_rng(0).permutation(titled)[: given.recall_sample]
    found = estimate_recall(index, index.vectors[np.sort(chosen)], index.k)
    return max(0.0, (found * index.k - 1) / (index.k - 1))


def _fingerprint(results: Sequence[Artifact], items: pl.DataFrame, settings: dict[str, Any]) -> str:
    told = [[result.fingerprint for result in results], settings]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for row in items.iter_rows():
        digest.update("\0".join(row).encode() + b"\n")
    return digest.hexdigest()
