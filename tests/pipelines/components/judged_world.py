"""Artifacts for the components that judge: a small domain, and models of it, trained on nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tensorflow as tf

from idp_tf.data.schema import IdMap
from idp_tf.models import SASRec, save_model
from pipelines import artifacts
from pipelines.artifacts import Artifact, OutputArtifact, digest_of
from pipelines.component import Component, Execution

Histories = Mapping[str, Sequence[str]]
NUM_ITEMS, NUM_USERS = 30, 150


def histories(num_items: int = NUM_ITEMS, num_users: int = NUM_USERS, seed: int = 0) -> Histories:
    """Users of 3 to 9 items, popular ones first in line; the last two items are never trained."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, num_items - 1)
    found = {}
    for user in range(num_users):
        chosen = rng.choice(num_items - 2, rng.integers(3, 10), p=weights / weights.sum())
        found[f"user {user}"] = [f"item {item:02}" for item in chosen]
        if user % 10 == 0:  # A test item that nobody trains on, and one who comes back to an item.
            found[f"user {user}"][-1] = f"item {num_items - 1 - user // 10 % 2:02}"
        if user % 10 == 1:
            found[f"user {user}"][-1] = found[f"user {user}"][0]
    return found


def item_ids(num_items: int = NUM_ITEMS) -> IdMap:
    """The domain's items."""
    return IdMap([f"item {item:02}" for item in range(num_items)])


def write_examples(folder: Path, users: Histories, shards: int = 2) -> Artifact:
    """Examples, users in no order."""
    for split, leave_out in (("train", 2), ("eval", 0)):
        rows = [
            _sequence_example(user, items[: len(items) - leave_out])
            for user, items in sorted(users.items(), key=lambda pair: hash_of(pair[0]))
        ]
        _write_records(folder / f"Split-{split}", rows, shards)
    told = {"domain": "shop", "users": len(users), "split_names": '["train","eval"]'}
    return Artifact(artifacts.EXAMPLES, folder, digest_of(folder), told)


def write_items(folder: Path, ids: IdMap) -> Artifact:
    """Items."""
    rows = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "item_id": _bytes(item),
                    "internal_id": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
                    "title": _bytes(f"title of {item}"),
                }
            )
        ).SerializeToString()
        for number, item in enumerate(ids.external_ids, start=1)
    ]
    _write_records(folder / "Split-all", rows[::-1], 2)
    return Artifact(artifacts.ITEMS, folder, digest_of(folder), {"items": ids.size})


def sasrec(num_items: int = NUM_ITEMS, seed: int = 0) -> SASRec:
    """A model of random weights, larger ones than at the start of a training."""
    model = SASRec(num_items, 8, num_layers=1, max_length=5, seed=seed)
    rng = np.random.default_rng(seed)
    model.item_embedding.set_weights([rng.normal(size=(num_items + 1, 8)).astype(np.float32)])
    return model


def write_model(folder: Path, model: SASRec, ids: IdMap, *, served: bool = False) -> Artifact:
    """A Model; the SavedModel, which takes seconds, only where it is asked for."""
    serving = folder / "Format-Serving"
    if served:
        from serving.export import export_recommender

        version = export_recommender(model, ids, folder / "export")
        shutil.move(version, serving)
        shutil.rmtree(folder / "export")
    library = serving / "assets.extra" / "idp_tf"
    library.mkdir(parents=True)
    save_model(model, library / "model")
    titles = [f"title of {item}" for item in ids.external_ids]
    table = pl.DataFrame({"item_id": ids.external_ids, "title": titles})
    table.write_parquet(library / "items.parquet")
    return Artifact(artifacts.MODEL, folder, digest_of(folder))


def execute(
    component: Component[Any],
    inputs: Mapping[str, Artifact],
    folder: Path,
    *beam_args: str,
    **parameters: Any,
) -> Execution[Any]:
    """One execution, as the launcher would do it; outputs and work lie in the folder."""
    outputs = {}
    for key, kind in component.outputs.items():
        (folder / key).mkdir(parents=True)
        outputs[key] = OutputArtifact(kind, folder / key)
    execution = Execution(
        node_id=component.name,
        inputs={key: [artifact] for key, artifact in inputs.items()},
        outputs=outputs,
        parameters=component.parameters(**parameters),
        work=folder / "work",
        beam_args=beam_args,
    )
    execution.work.mkdir(exist_ok=True)
    component.execute(execution)
    return execution


def hash_of(text: str) -> int:
    """An order that is not that of the ids."""
    return sum((place + 3) ** 3 * ord(letter) for place, letter in enumerate(text)) % 1009


def _sequence_example(user: str, items: Iterable[str]) -> bytes:
    record = tf.train.SequenceExample()
    record.context.feature["user_id"].CopyFrom(_bytes(user))
    for item in items:
        record.feature_lists.feature_list["item_ids"].feature.add().CopyFrom(_bytes(item))
    return record.SerializeToString()


def _bytes(text: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()]))


def _write_records(folder: Path, rows: Sequence[bytes], shards: int) -> None:
    folder.mkdir(parents=True)
    for shard in range(shards):
        name = f"data_tfrecord-{shard:05}-of-{shards:05}.gz"
        with tf.io.TFRecordWriter(str(folder / name), "GZIP") as writer:
            for row in rows[shard::shards]:
                writer.write(row)
