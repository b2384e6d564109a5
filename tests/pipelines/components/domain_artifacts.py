"""Examples and Items artifacts, written by TensorFlow alone, and components run on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from pipelines.artifacts import EXAMPLES, ITEMS, Artifact, OutputArtifact
from pipelines.component import Component, Execution

Row = Mapping[str, Any]


def example(row: Row) -> bytes:
    """A ``tf.Example``; a text or number, or a list of them, a feature; None leaves it out."""
    record = tf.train.Example()
    for name, value in row.items():
        for one in value if isinstance(value, list) else [value]:
            feature = record.features.feature[name]
            if isinstance(one, int):
                feature.int64_list.value.append(one)
            elif isinstance(one, float):
                feature.float_list.value.append(one)
            elif one is not None:
                feature.bytes_list.value.append(one if isinstance(one, bytes) else one.encode())
        if value is None:
            del record.features.feature[name]
    return record.SerializeToString()


def sequence(user: str, items: Sequence[str]) -> bytes:
    """A ``tf.SequenceExample`` of one user."""
    record = tf.train.SequenceExample()
    record.context.feature["user_id"].bytes_list.value.append(user.encode())
    for item in items:
        step = record.feature_lists.feature_list["item_ids"].feature.add()
        step.bytes_list.value.append(item.encode())
    return record.SerializeToString()


def write_records(folder: Path, records: Iterable[bytes], shards: int = 3) -> None:
    """TFRecords in shards, as ExampleGen names them."""
    folder.mkdir(parents=True)
    kept = list(records)
    for shard in range(shards):
        file = folder / f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
        with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
            for record in kept[shard::shards]:
                writer.write(record)


def write_examples(
    folder: Path, histories: Mapping[str, Sequence[str]], domain: str = "shop"
) -> Artifact:
    """Users, whole and without their last two items."""
    train = (sequence(user, items[:-2]) for user, items in histories.items())
    write_records(folder / "Split-train", train)
    write_records(folder / "Split-eval", (sequence(*pair) for pair in histories.items()))
    properties = {"domain": domain, "users": len(histories)}
    return Artifact(EXAMPLES, folder, "examples", properties)


def write_items(
    folder: Path, rows: Iterable[Row], domain: str = "shop", shards: int = 3
) -> Artifact:
    """Items; each row a ``tf.Example``."""
    kept = list(rows)
    write_records(folder / "Split-all", map(example, kept), shards)
    return Artifact(ITEMS, folder, "items", {"domain": domain, "items": len(kept)})


def titled(titles: Mapping[str, str]) -> list[Row]:
    """Rows of items as ExampleGen writes them."""
    return [
        {"item_id": item, "internal_id": number, "title": titles[item]}
        for number, item in enumerate(sorted(titles), start=1)
    ]


def run(
    component: Component[Any],
    folder: Path,
    inputs: Mapping[str, Artifact | Sequence[Artifact]],
    beam_args: Sequence[str] = (),
    **parameters: Any,
) -> Execution[Any]:
    """One execution, its outputs below ``folder``; like the launcher, but without a record."""
    outputs = {}
    for name, kind in component.outputs.items():
        (folder / name).mkdir(parents=True)
        outputs[name] = OutputArtifact(kind, folder / name)
    (folder / "work").mkdir(exist_ok=True)
    execution = Execution(
        f"{component.name}.shop",
        {key: [v] if isinstance(v, Artifact) else list(v) for key, v in inputs.items()},
        outputs,
        component.parameters(**parameters),
        folder / "work",
        beam_args,
    )
    component.execute(execution)
    return execution


def finished(execution: Execution[Any], name: str) -> Artifact:
    """An output as the next component gets it."""
    made = execution.outputs[name]
    return Artifact(made.type, made.uri, made.fingerprint or "files", made.properties)
