"""One shard: what is known of it, what has to be encoded, and how that is put together."""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler
from tfx_bsl.public.beam.run_inference import CreateModelHandler
from tfx_bsl.public.proto import model_spec_pb2

from idp_tf.errors import DataError
from idp_tf.transfer.generate import find_untitled
from pipelines.components.bulk_inferrer.files import (
    Float32Array,
    Vectors,
    overlapping,
    read_shards,
    shard_name,
    shard_of,
    title_digest,
    write_shard,
)
from pipelines.components.statistics_gen.columns import columns_of
from pipelines.components.statistics_gen.titles import decode

READY: Final = "ready"
OUTPUT: Final = "embedding"
_LENGTH_ERROR: Final = 1e-2
_LOG = logging.getLogger("pipelines.BulkInferrer")

Table = pl.DataFrame
"""Items: ``item_id``, ``title`` and ``digest``."""
Batches = list[list[bytes]]
"""Serialized Examples, those of one list to be encoded together."""


class ShardItems(beam.DoFn):
    """Record batches of items -> (shard, table).

    Args:
        num_shards: How many there are.
    """

    def __init__(self, num_shards: int):
        self.num_shards = num_shards

    def process(self, element: pa.RecordBatch) -> Iterator[tuple[int, Table]]:
        """Spreads a batch's items over the shards."""
        table = _items_of(element)
        digests = [title_digest(title) for title in table["title"]]
        shards = [shard_of(digest, self.num_shards) for digest in digests]
        table = table.with_columns(digest=pl.Series(digests, dtype=pl.String))
        table = table.with_columns(shard=pl.Series(shards, dtype=pl.Int64))
        for (shard,), rows in table.partition_by("shard", as_dict=True, include_key=False).items():
            yield int(shard), rows


@dataclass(frozen=True)
class Plan:
    """What becomes of a shard.

    Args:
        shard: Its number.
        item_ids: Its items, in their order.
        digests: The digest of each item's title; empty for an item without one.
        kept: Digests of titles that need not be encoded, and their vectors.
        fresh: Digests of titles to be encoded, in the order in which they are.
        untitled: Digests of titles that are empty or white space.
    """

    shard: int
    item_ids: list[str]
    digests: list[str]
    kept: dict[str, Float32Array]
    fresh: list[str]
    untitled: frozenset[str]


class PlanShards(beam.DoFn):
    """(shard, tables) -> (plan, batches to encode), or READY if there are none.

    Held in memory: a shard's titles, and the vectors of the last result's part of it.

    Args:
        folder: Where finished shards lie; those are passed over.
        num_shards: How many there are.
        previous: Shards of the last result by the same encoder.
        batch_titles: Titles to be encoded together.
    """

    def __init__(self, folder: str, num_shards: int, previous: Sequence[str], batch_titles: int):
        self.folder = folder
        self.num_shards = num_shards
        self.previous = list(previous)
        self.batch_titles = batch_titles

    def process(self, element: tuple[int, Iterable[Table]]) -> Iterator[Any]:
        """Plans a shard."""
        shard, tables = element
        if _figures_file(Path(self.folder), shard, self.num_shards).is_file():
            return
        table = pl.concat(tables).sort("item_id", "title")
        empty = pl.Series(find_untitled(table["title"].to_list()))
        untitled = frozenset(table.filter(empty)["digest"])
        titles = table.filter(~pl.col("digest").is_in(list(untitled))).unique("digest")
        kept = self._kept(shard, set(titles["digest"]))
        fresh = titles.filter(~pl.col("digest").is_in(list(kept)))
        # By length, so that little is padded; by digest, so that it is always the same.
        fresh = fresh.sort(pl.col("title").str.len_chars(), "digest")
        plan = Plan(
            shard,
            table["item_id"].to_list(),
            table["digest"].to_list(),
            kept,
            fresh["digest"].to_list(),
            untitled,
        )
        if not plan.fresh:
            yield beam.pvalue.TaggedOutput(READY, (plan, np.zeros((0, 0), np.float32)))
            return
        examples = [_example(*row) for row in fresh.select("item_id", "title").iter_rows()]
        size = self.batch_titles
        yield plan, [examples[i : i + size] for i in range(0, len(examples), size)]

    def _kept(self, shard: int, wanted: set[str]) -> dict[str, Float32Array]:
        if not self.previous:
            return {}
        files = overlapping([Path(file) for file in self.previous], shard, self.num_shards)
        found = read_shards(files)
        pairs = zip(found.digests, found.vectors, strict=True)
        return {digest: vector for digest, vector in pairs if digest in wanted}


class EncodeBatches(ModelHandler):
    """tfx-bsl's handler of a SavedModel, asked batch by batch as the shard was planned.

    Beam's own batching would put titles of all lengths together, others in every run.

    Args:
        model: The SavedModel.
        signature: Takes serialized Examples, gives ``embedding``.
    """

    def __init__(self, model: str, signature: str):
        super().__init__()
        spec = model_spec_pb2.InferenceSpecType()
        spec.saved_model_spec.model_path = model
        spec.saved_model_spec.signature_name.append(signature)
        self._handler = CreateModelHandler(spec)

    def load_model(self) -> Any:
        """A session over the SavedModel."""
        return self._handler.load_model()

    def run_inference(
        self, batch: Sequence[Batches], model: Any, inference_args: Any = None
    ) -> list[Float32Array]:
        """Vectors of all titles of each element, (titles, width)."""
        return [np.concatenate([self._encode(b, model) for b in batches]) for batches in batch]

    def get_num_bytes(self, batch: Sequence[Batches]) -> int:
        """For Beam's metrics."""
        return sum(len(e) for batches in batch for part in batches for e in part)

    def batch_elements_kwargs(self) -> dict[str, Any]:
        """One shard at a time."""
        return {"min_batch_size": 1, "max_batch_size": 1}

    def _encode(self, examples: list[bytes], model: Any) -> Float32Array:
        logs = self._handler.run_inference(examples, model)
        found = [tf.make_ndarray(log.predict_log.response.outputs[OUTPUT])[0] for log in logs]
        return np.stack(found).astype(np.float32)


class WriteShards(beam.DoFn):
    """(plan, vectors of its fresh titles) -> the shard's file, and its figures beside it.

    Args:
        folder: Where they go.
        num_shards: How many there are.
        width: The length of a vector.
    """

    def __init__(self, folder: str, num_shards: int, width: int):
        self.folder = folder
        self.num_shards = num_shards
        self.width = width
        self._encoded = 0
        self._started = 0.0

    def setup(self) -> None:
        """Starts the clock."""
        self._started = time.monotonic()

    def process(self, element: tuple[Plan, Float32Array]) -> None:
        """Writes a shard; the figures last, since they say that it is done."""
        plan, encoded = element
        _check_vectors(encoded, plan, self.width)
        by_digest = plan.kept | dict(zip(plan.fresh, encoded, strict=True))
        zeros = np.zeros(self.width, np.float32)
        vectors = np.stack([by_digest.get(digest, zeros) for digest in plan.digests])
        file = Path(self.folder) / shard_name(plan.shard, self.num_shards)
        write_shard(file, Vectors(plan.item_ids, vectors, plan.digests))
        figures = _count(plan)
        done = _figures_file(Path(self.folder), plan.shard, self.num_shards)
        fresh = done.with_name(f"{done.name}.{uuid.uuid4().hex}.tmp")
        fresh.write_text(json.dumps(figures), encoding="utf-8")
        os.replace(fresh, done)
        self._encoded += len(plan.fresh)
        rate = self._encoded / max(1e-9, time.monotonic() - self._started)
        _LOG.info(
            "shard %d of %d: %s; %.0f titles/s", plan.shard + 1, self.num_shards, figures, rate
        )


def read_figures(folder: Path, num_shards: int) -> dict[int, dict[str, int]]:
    """Figures of the finished shards, by their numbers."""
    files = {shard: _figures_file(folder, shard, num_shards) for shard in range(num_shards)}
    return {s: json.loads(f.read_text("utf-8")) for s, f in files.items() if f.is_file()}


def _figures_file(folder: Path, shard: int, num_shards: int) -> Path:
    return folder / f"{shard_name(shard, num_shards)}.json"


def _count(plan: Plan) -> dict[str, int]:
    """Items by what became of their titles; a title that several share is encoded once."""
    untitled = sum(digest in plan.untitled for digest in plan.digests)
    reused = sum(digest in plan.kept for digest in plan.digests)
    return {
        "items": len(plan.item_ids),
        "encoded": len(plan.item_ids) - untitled - reused,
        "reused": reused,
        "untitled": untitled,
        "titles": len(plan.fresh),
    }


def _items_of(batch: pa.RecordBatch) -> Table:
    """Ids and titles; a row without a title has an empty one."""
    columns = {column.path: column for column in columns_of(batch)}
    ids, titles = columns["item_id",], columns.get(("title",))
    if ids.present != batch.num_rows or len(ids.values) != batch.num_rows:
        raise DataError("a row of items has no single item_id", where="items")
    table = pl.DataFrame({"item_id": decode(ids.values)})
    if titles is None or titles.kind != "bytes":
        return table.with_columns(title=pl.lit(""))
    column = batch.column(batch.schema.get_field_index("title"))
    firsts = [row[0] if row else b"" for row in column.to_pylist()]
    return table.with_columns(title=decode(pa.array(firsts, pa.large_binary())))


def _example(item_id: str, title: str) -> bytes:
    record = tf.train.Example()
    record.features.feature["item_id"].bytes_list.value.append(item_id.encode())
    record.features.feature["title"].bytes_list.value.append(title.encode())
    return bytes(record.SerializeToString())


def _check_vectors(encoded: Float32Array, plan: Plan, width: int) -> None:
    if not plan.fresh:
        return
    expected = (len(plan.fresh), width)
    if encoded.shape != expected:
        raise DataError(f"the encoder gave the shape {encoded.shape}, not {expected}")
    lengths = np.linalg.norm(encoded, axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < _LENGTH_ERROR))
    if wrong.size:
        raise DataError(
            f"the encoder gave a vector of length {lengths[wrong[0]]}, expected 1",
            remedy="export an encoder whose embeddings are L2-normalised",
        )
