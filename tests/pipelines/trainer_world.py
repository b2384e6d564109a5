"""Domains as ExampleGen leaves them, and what TFX calls a trainer module with."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import tensorflow as tf
from tfx_bsl.tfxio.tf_sequence_example_record import TFSequenceExampleRecord

from idp_tf.data.domain import Domain

SHARDS = 3
LOG = logging.getLogger("idp_tf.models.training")

TFX_ATTRIBUTES = {
    "working_dir",
    "train_files",
    "eval_files",
    "train_steps",
    "eval_steps",
    "schema_path",
    "schema_file",
    "transform_graph_path",
    "transform_output",
    "data_accessor",
    "serving_model_dir",
    "eval_model_dir",
    "model_run_dir",
    "base_model",
    "hyperparameters",
    "custom_config",
}
"""Of tfx.components.trainer.fn_args_utils.FnArgs, TFX 1.16."""


def write_domain(domain: Domain, folder: Path) -> Path:
    """``examples/`` and ``items/``: records in a shuffled order, over several files."""
    users, items = [], []
    for row, user in enumerate(domain.user_ids):
        first, end = domain.sequences.offsets[row : row + 2]
        history = domain.item_ids.to_external(np.asarray(domain.sequences.values[first:end]))
        users.append(user_record(user, history))
    for number, (item, title) in enumerate(
        zip(domain.item_ids.external_ids, domain.titles, strict=True), start=1
    ):
        items.append(item_record(item, number, title))
    write_records(folder / "examples" / "Split-eval", users)
    write_records(folder / "items" / "Split-all", items)
    return folder


def user_record(user: str, history: list[str]) -> bytes:
    record = tf.train.SequenceExample()
    record.context.feature["user_id"].bytes_list.value.append(user.encode())
    steps = record.feature_lists.feature_list["item_ids"].feature
    for item in history:
        steps.add().bytes_list.value.append(item.encode())
    return bytes(record.SerializeToString())


def item_record(item: str, number: int, title: str) -> bytes:
    record = tf.train.Example()
    record.features.feature["item_id"].bytes_list.value.append(item.encode())
    record.features.feature["internal_id"].int64_list.value.append(number)
    record.features.feature["title"].bytes_list.value.append(title.encode())
    return bytes(record.SerializeToString())


def write_records(folder: Path, records: list[bytes]) -> None:
    folder.mkdir(parents=True)
    order = np.random.default_rng(0).permutation(len(records))
    for shard in range(SHARDS):
        file = folder / f"data_tfrecord-{shard:05}-of-{SHARDS:05}.gz"
        with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
            for row in order[shard::SHARDS]:
                writer.write(records[row])


def data_accessor() -> SimpleNamespace:
    """As TFX makes it of Examples whose payload is SequenceExamples."""

    def tfxio(patterns: list[str], schema: Any) -> TFSequenceExampleRecord:
        return TFSequenceExampleRecord(patterns, ["Trainer"], schema=schema)

    return SimpleNamespace(
        tf_dataset_factory=lambda patterns, options, schema=None: tfxio(
            patterns, schema
        ).TensorFlowDataset(options),
        record_batch_factory=lambda patterns, options, schema=None: tfxio(
            patterns, schema
        ).RecordBatches(options),
        data_view_decode_fn=None,
    )


def embeddings_of(domain: Domain, embeddings: np.ndarray, place: Path) -> Path:
    """As EmbeddingGenerator leaves them, but for its matches."""
    folder = place / "embeddings"
    folder.mkdir()
    np.save(folder / "embeddings.npy", embeddings)
    pl.DataFrame({"item_id": domain.item_ids.external_ids}).write_parquet(folder / "items.parquet")
    return folder


class Lines(logging.Handler):
    """Collects what trainings log."""

    def __enter__(self) -> list[str]:
        self.lines: list[str] = []
        LOG.addHandler(self)
        LOG.setLevel(logging.INFO)
        return self.lines

    def __exit__(self, *error: object) -> None:
        LOG.removeHandler(self)
        LOG.setLevel(logging.NOTSET)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def fn_args(
    folder: Path, domains: dict[str, Path], custom: dict[str, Any], **changes: Any
) -> SimpleNamespace:
    """TFX's FnArgs; ``folder`` is the execution's, ``domains`` are what ``write_domain`` wrote."""
    named = [{"name": n, "items": f"{d}/items/Split-all/*"} for n, d in domains.items()]
    attributes = dict.fromkeys(TFX_ATTRIBUTES) | {
        "working_dir": str(folder / "executor"),
        "train_files": [f"{d}/examples/Split-train/*" for d in domains.values()],
        "eval_files": [f"{d}/examples/Split-eval/*" for d in domains.values()],
        "data_accessor": data_accessor(),
        "serving_model_dir": str(folder / "model" / "Format-Serving"),
        "eval_model_dir": str(folder / "model" / "Format-TFMA"),
        "model_run_dir": str(folder / "model_run"),
        "custom_config": {"domains": named, **custom},
    }
    assert {*changes} <= TFX_ATTRIBUTES
    return SimpleNamespace(**{**attributes, **changes})
