"""Runs ExampleGen without a pipeline around it, and reads by TensorFlow alone what it wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.artifacts import OutputArtifact
from pipelines.component import Execution
from pipelines.components.example_gen import ExampleGen, ExampleGenParameters


@dataclass
class Generated:
    """What an execution left."""

    execution: Execution[ExampleGenParameters]

    @property
    def manifest(self) -> dict[str, Any]:
        file = self.execution.outputs["manifest"].uri / "manifest.json"
        manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return manifest

    @property
    def quarantine(self) -> list[dict[str, Any]]:
        file = self.execution.outputs["manifest"].uri / "quarantine.jsonl"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    @property
    def fingerprints(self) -> dict[str, str | None]:
        return {key: output.fingerprint for key, output in self.execution.outputs.items()}

    def users(self, split: str) -> dict[str, list[str]]:
        import tensorflow as tf

        found: dict[str, list[str]] = {}
        for record in self._records("examples", split):
            user = tf.train.SequenceExample.FromString(record)
            name = user.context.feature["user_id"].bytes_list.value[0].decode()
            assert name not in found
            steps = user.feature_lists.feature_list["item_ids"].feature
            found[name] = [step.bytes_list.value[0].decode() for step in steps]
            assert user.SerializeToString(deterministic=True) == record
        return found

    def items(self) -> dict[int, tuple[str, str]]:
        import tensorflow as tf

        found: dict[int, tuple[str, str]] = {}
        for record in self._records("items", "all"):
            features = tf.train.Example.FromString(record).features.feature
            item, title = (features[n].bytes_list.value[0].decode() for n in ("item_id", "title"))
            found[features["internal_id"].int64_list.value[0]] = item, title
        return found

    def _records(self, output: str, split: str) -> list[bytes]:
        import tensorflow as tf

        folder = self.execution.outputs[output].uri / f"Split-{split}"
        files = sorted(str(file) for file in folder.glob("data_tfrecord-*.gz"))
        return list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())


def generate(folder: Path, *, beam_args: Sequence[str] = (), **parameters: Any) -> Generated:
    """Runs ExampleGen into a folder; a second call goes on with the work of a first that failed."""
    component = ExampleGen()
    number = len(list(folder.glob("outputs-*"))) if folder.exists() else 0
    outputs = {
        key: OutputArtifact(kind, folder / f"outputs-{number}" / key)
        for key, kind in component.outputs.items()
    }
    for output in outputs.values():
        output.uri.mkdir(parents=True)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    execution = Execution(
        "ExampleGen.shop", {}, outputs, ExampleGenParameters(**parameters), work, beam_args
    )
    component.execute(execution)
    return Generated(execution)
