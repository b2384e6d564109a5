"""BulkInferrer against the encoder in memory; what is reused, and what a kill leaves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from domain_artifacts import finished, run, titled, write_items
from hypothesis import given
from hypothesis import strategies as st
from tiny_encoder import export

from idp_tf.errors import DataError, MissingDataError
from idp_tf.text import TextEncoder, build_text_encoder
from pipelines.artifacts import MODEL, Artifact
from pipelines.component import Execution
from pipelines.components.bulk_inferrer import BulkInferrer
from pipelines.components.bulk_inferrer.files import (
    choose_num_shards,
    overlapping,
    read_vectors,
    shard_of,
)

WORDS = ["green", "black", "tea", "kettle", "guitar", "string", "violin", "bow", "star", "desk"]
RNG = np.random.default_rng(2)
TITLES = {
    f"item {n}": " ".join(RNG.choice(WORDS, RNG.integers(1, 9))) + f" {'aeios'[n % 5]}"
    for n in range(60)
} | {"empty": "", "blank": "  ", "twin": "guitar ü", "other twin": "guitar ü"}


@pytest.fixture(scope="module")
def encoder(tiny_bert: Path) -> TextEncoder:
    return build_text_encoder(str(tiny_bert), "mean", 12)


@pytest.fixture(scope="module")
def model(encoder: TextEncoder, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(encoder, tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return write_items(tmp_path_factory.mktemp("items") / "items", titled(TITLES))


@pytest.fixture(scope="module")
def made(
    items: Artifact, model: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Execution[Any]:
    folder = tmp_path_factory.mktemp("made")
    inputs = {"items": items, "model": model, "previous": []}
    return run(BulkInferrer(), folder, inputs, shard_items=20, batch_titles=8)


def by_item(folder: Path) -> dict[str, tuple[np.ndarray, str]]:
    """Read by TensorFlow alone."""
    found = {}
    for file in sorted(folder.glob("vectors_tfrecord-*.gz")):
        for raw in tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator():
            features = tf.train.Example.FromString(raw).features.feature
            item = features["item_id"].bytes_list.value[0].decode()
            vector = np.array(features["vector"].float_list.value, np.float32)
            found[item] = vector, features["title_digest"].bytes_list.value[0].decode()
    return found


def test_vectors_are_the_encoders(made: Execution[Any], encoder: TextEncoder) -> None:
    found = by_item(made.outputs["inference_result"].uri)
    assert set(found) == set(TITLES)
    expected = dict(zip(TITLES, encoder.encode(list(TITLES.values())), strict=True))
    for item, (vector, digest) in found.items():
        assert digest == hashlib.sha256(TITLES[item].encode()).hexdigest()
        if item in ("empty", "blank"):
            assert not vector.any() and vector.shape == (encoder.width,)
        else:
            np.testing.assert_allclose(vector, expected[item], atol=1e-5)
    assert found["twin"][0].tolist() == found["other twin"][0].tolist()


def test_files_and_figures(made: Execution[Any], encoder: TextEncoder) -> None:
    output = made.outputs["inference_result"]
    names = sorted(path.name for path in output.uri.iterdir())
    shards = [f"vectors_tfrecord-{i:05d}-of-00004.gz" for i in range(4)]
    assert names == ["encoder.json", *shards]
    content = json.loads((output.uri / "encoder.json").read_text())
    assert content["fingerprint"] == "encoder" and content["width"] == encoder.width
    counts = {"items": 64, "encoded": 62, "reused": 0, "untitled": 2}
    assert {name: output.properties[name] for name in counts} == counts
    assert made.counters["titles"] == len({t for t in TITLES.values() if t.strip()})
    read = read_vectors(output.uri)
    found = by_item(output.uri)
    assert sorted(read.item_ids) == sorted(found)
    for item, vector in zip(read.item_ids, read.vectors, strict=True):
        assert vector.tolist() == found[item][0].tolist()


def test_only_new_titles_are_encoded(made: Execution[Any], model: Artifact, tmp_path: Path) -> None:
    """Half as many shards, so that shards of the last result have to be found again."""
    changed = TITLES | {"item 0": "star star", "new": "robot lamp", "also": TITLES["item 7"]}
    inputs = {"items": write_items(tmp_path / "i", titled(changed)), "model": model}
    previous = {"previous": [finished(made, "inference_result")]}
    again = run(BulkInferrer(), tmp_path / "a", inputs | previous, shard_items=40)
    assert again.outputs["inference_result"].properties["encoded"] == 2
    assert again.outputs["inference_result"].properties["reused"] == len(changed) - 2 - 2
    whole = run(BulkInferrer(), tmp_path / "b", inputs | {"previous": []}, shard_items=9)
    first, second = (e.outputs["inference_result"] for e in (again, whole))
    assert first.fingerprint == second.fingerprint
    found, expected = by_item(first.uri), by_item(second.uri)
    for item in changed:
        np.testing.assert_allclose(found[item][0], expected[item][0], atol=1e-5)


def test_another_encoder_reuses_nothing(
    made: Execution[Any], model: Artifact, items: Artifact, tmp_path: Path
) -> None:
    other = Artifact(MODEL, model.uri, "another", {})
    inputs = {"items": items, "model": other, "previous": [finished(made, "inference_result")]}
    again = run(BulkInferrer(), tmp_path, inputs)
    assert again.outputs["inference_result"].properties["reused"] == 0
    assert (
        again.outputs["inference_result"].fingerprint
        != made.outputs["inference_result"].fingerprint
    )


def test_finished_shards_survive_a_kill(
    made: Execution[Any], model: Artifact, items: Artifact, tmp_path: Path
) -> None:
    """Three shards lie in the work folder, one torn; the encoder is asked for the fourth alone."""
    work = tmp_path / "work" / "shards-4"
    work.mkdir(parents=True)
    source = made.work / "shards-4"
    for file in source.iterdir():
        if "00002-of" not in file.name:
            (work / file.name).write_bytes(file.read_bytes())
    torn = next(file for file in source.glob("*00002-of*.gz"))
    (work / torn.name).write_bytes(torn.read_bytes()[:40])
    before = {file.name: file.stat().st_mtime_ns for file in work.glob("*.json")}
    inputs = {"items": items, "model": model, "previous": []}
    again = run(BulkInferrer(), tmp_path, inputs, shard_items=20, batch_titles=8)
    output = again.outputs["inference_result"]
    assert output.fingerprint == made.outputs["inference_result"].fingerprint
    assert output.properties == made.outputs["inference_result"].properties
    after = {file.name: file.stat().st_mtime_ns for file in work.glob("*.json")}
    assert {name: after[name] for name in before} == before and len(after) == 4
    expected = by_item(made.outputs["inference_result"].uri)
    assert by_item(output.uri).keys() == expected.keys()


@pytest.mark.slow
def test_same_from_several_processes(
    made: Execution[Any], model: Artifact, items: Artifact, tmp_path: Path
) -> None:
    workers = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    inputs = {"items": items, "model": model, "previous": []}
    other = run(BulkInferrer(), tmp_path, inputs, workers, shard_items=20, batch_titles=8)
    first, second = (e.outputs["inference_result"] for e in (made, other))
    assert first.fingerprint == second.fingerprint and first.properties == second.properties
    found, expected = by_item(second.uri), by_item(first.uri)
    for item in TITLES:
        np.testing.assert_allclose(found[item][0], expected[item][0], atol=1e-5)


def test_encoders_that_cannot_be_used(model: Artifact, items: Artifact, tmp_path: Path) -> None:
    inputs = {"items": items, "previous": []}
    with pytest.raises(MissingDataError, match="SavedModel"):
        missing = Artifact(MODEL, tmp_path, "", {})
        run(BulkInferrer(), tmp_path / "1", inputs | {"model": missing})
    with pytest.raises(DataError, match="no signature 'titles'.*serving_default"):
        run(BulkInferrer(), tmp_path / "2", inputs | {"model": model}, signature="titles")

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def twos(examples: Any) -> dict[str, Any]:
        return {"embedding": tf.fill((tf.size(examples), 2), 2.0) * tf.ones((1, 2))}

    module = tf.Module()
    folder = tmp_path / "twos" / "Format-Serving"
    tf.saved_model.save(module, str(folder), signatures={"serving_default": twos})
    with pytest.raises(DataError, match="length 2.8"):
        long = Artifact(MODEL, tmp_path / "twos", "", {})
        run(BulkInferrer(), tmp_path / "3", inputs | {"model": long})


digests = st.text("0123456789abcdef", min_size=64, max_size=64)
powers = st.sampled_from([1, 2, 4, 8, 64])


@given(digests, powers, powers)
def test_a_title_is_found_in_shards_of_any_number(digest: str, now: int, before: int) -> None:
    files = [Path(str(n)) for n in range(before)]
    places: Sequence[Path] = overlapping(files, shard_of(digest, now), now)
    assert files[shard_of(digest, before)] in places
    assert len(places) == max(1, before // now)


@given(st.integers(0, 10**6), st.integers(16, 10**4))
def test_number_of_shards(num_items: int, shard_items: int) -> None:
    number = choose_num_shards(num_items, shard_items)
    assert number & (number - 1) == 0
    assert num_items <= number * shard_items
    assert number == 1 or num_items > number // 2 * shard_items
