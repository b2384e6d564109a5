"""The folder layout: versions, what travels with them, and nothing half written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from idp_tf.data.schema import IdMap
from idp_tf.errors import ServingError, SettingsError
from idp_tf.models import SASRec
from serving.export import export_recommender
from serving.saved_models import describe_signature, list_versions, write_saved_model

SPEC = (tf.TensorSpec((None,), tf.float32, name="x"),)


def test_versions_are_integers_in_order(tmp_path: Path) -> None:
    for name in ("2", "10", "1", ".3.tmp", "latest", "-4", "٣"):
        (tmp_path / name).mkdir()
    (tmp_path / "11").write_text("a file")
    assert list_versions(tmp_path) == [1, 2, 10]
    assert list_versions(tmp_path / "absent") == []


def test_the_next_version(tmp_path: Path) -> None:
    folders = [write_saved_model(tmp_path / "m", lambda x: {"y": x + 1.0}, SPEC) for _ in range(2)]
    assert [folder.name for folder in folders] == ["1", "2"]


def test_a_version_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("serving.saved_models._write_extras", fail)
        with pytest.raises(OSError, match="the disk is full"):
            write_saved_model(tmp_path / "m", lambda x: {"y": x}, SPEC)
    assert list_versions(tmp_path / "m") == []
    write_saved_model(tmp_path / "m", lambda x: {"y": x}, SPEC)
    assert [child.name for child in (tmp_path / "m").iterdir()] == ["1"]


@pytest.mark.parametrize("name", ["recommender", "recommender_scann", "matcher", "matcher_scann"])
def test_warm_up_and_signature_travel_along(exports: Path, name: str) -> None:
    folder = exports / name / "1"
    extra = folder / "assets.extra"
    records = [
        prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        for record in tf.data.TFRecordDataset(
            str(extra / "tf_serving_warmup_requests")
        ).as_numpy_iterator()
    ]
    described = json.loads((extra / "signature.json").read_text())
    assert [record.model_spec.name for record in records] == [name, name]
    for record in records:
        assert sorted(record.inputs) == sorted(described["inputs"])
    assert described.items() >= describe_signature(folder).items()
    assert described["retrieval"] == ("scann" if name.endswith("scann") else "exact")


def test_only_what_the_function_reads_is_saved(exports: Path) -> None:
    """No optimizer, no metric, nothing twice: the table, the encoder and the item vectors."""
    reader = tf.train.load_checkpoint(str(exports / "recommender" / "1" / "variables/variables"))
    names = [name for name in reader.get_variable_to_shape_map() if "_CHECKPOINTABLE" not in name]
    assert names
    assert all(name.startswith("read_variables/") for name in names)


def test_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="no SavedModel can be read"):
        describe_signature(tmp_path)


def test_ids_of_another_model(sequence_model: SASRec, tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="2 item ids for a model of 60 items"):
        export_recommender(sequence_model, IdMap(["a", "b"]), tmp_path)


def test_vectors_that_are_not_finite(tmp_path: Path) -> None:
    model = SASRec(20, 8, num_layers=1, max_length=4)
    table = np.zeros((21, 8), np.float32)
    table[3, 2] = np.nan
    model.item_embedding.set_weights([table])
    with pytest.raises(ServingError, match="NaN or infinity"):
        export_recommender(model, IdMap(map(str, range(20))), tmp_path)


def test_too_few_items_for_scann(tmp_path: Path) -> None:
    model = SASRec(3, 8, num_layers=1, max_length=4)
    with pytest.raises(SettingsError, match="at least 16 vectors"):
        export_recommender(model, IdMap("abc"), tmp_path, scann=True)
