"""The folder layout: versions, what travels with them, and nothing half written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from exported import Session
from tensorflow_serving.apis import prediction_log_pb2

from idp_tf.data.schema import IdMap
from idp_tf.errors import ServingError, SettingsError
from idp_tf.models import SASRec
from serving.export import export_recommender
from serving.export.saving import Signature, write_saved_model
from serving.saved_models import describe_signature, list_versions
from serving.server.batching_parameters import read_batching_parameters

NUM_ITEMS = 60


def write_tiny(folder: Path, constant: float = 1.0, **notes: object) -> Path:
    """A model that adds a constant, a variable of it."""
    variable = tf.Variable(constant, trainable=False)
    signature = Signature(
        function=lambda x: {"y": x + variable},
        inputs=(tf.TensorSpec((None,), tf.float32, name="x"),),
        about="Adds.",
        row={"x": np.float32([2.5])},
        is_warmed_in_full=True,
    )
    other = Signature(
        function=lambda x: {"z": 2.0 * x + variable},
        inputs=signature.inputs,
        about="Doubles, and adds.",
        row=signature.row,
    )
    both = {"serving_default": signature, "double": other}
    return write_saved_model(folder, both, about="A sum.", notes=notes)


def test_versions_are_integers_in_order(tmp_path: Path) -> None:
    for name in ("2", "10", "1", ".3.tmp", "latest", "-4", "٣"):
        (tmp_path / name).mkdir()
    (tmp_path / "11").write_text("a file")
    assert list_versions(tmp_path) == [1, 2, 10]
    assert list_versions(tmp_path / "absent") == []


def test_the_next_version(tmp_path: Path) -> None:
    folders = [write_tiny(tmp_path / "m") for _ in range(2)]
    assert [folder.name for folder in folders] == ["1", "2"]


def test_a_version_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("serving.export.saving.write_extras", fail)
        with pytest.raises(OSError, match="the disk is full"):
            write_tiny(tmp_path / "m")
    assert list_versions(tmp_path / "m") == []
    write_tiny(tmp_path / "m")
    assert [child.name for child in (tmp_path / "m").iterdir()] == ["1"]


def test_signatures_share_their_variables(tmp_path: Path) -> None:
    with Session(write_tiny(tmp_path / "m", 4.0)) as session:
        x = np.float32([1.0, 2.0])
        assert session.ask(x=x)["y"].tolist() == [5.0, 6.0]
        assert session.ask("double", x=x)["z"].tolist() == [6.0, 8.0]
    reader = tf.train.load_checkpoint(str(tmp_path / "m/1/variables/variables"))
    saved = [name for name in reader.get_variable_to_shape_map() if "_CHECKPOINTABLE" not in name]
    assert len(saved) == 1


def fingerprint(version: Path) -> str:
    return str(json.loads((version / "assets.extra/signature.json").read_text())["fingerprint"])


def test_the_fingerprint_is_of_settings_and_weights(tmp_path: Path) -> None:
    base = tmp_path / "m"
    first, again = write_tiny(base, seed=1), write_tiny(base, seed=1)
    assert len(fingerprint(first)) == 64
    assert fingerprint(first) == fingerprint(again)
    others = [write_tiny(base, seed=2), write_tiny(base, 1.5, seed=1)]
    assert len({fingerprint(version) for version in (first, *others)}) == 3


def test_the_fingerprint_does_not_hang_on_the_order_in_which_variables_are_listed(
    tmp_path: Path,
) -> None:
    def write(values: range) -> Path:
        variables = [tf.Variable(float(value), trainable=False) for value in values]
        signature = Signature(
            function=lambda x: {
                "y": x + tf.add_n([number * v for number, v in enumerate(variables)])
            },
            inputs=(tf.TensorSpec((None,), tf.float32, name="x"),),
            about="Adds.",
            row={"x": np.float32([2.5])},
        )
        return write_saved_model(tmp_path / "m", {"serving_default": signature}, about="A sum.")

    versions = [write(range(30)), write(range(30)), write(range(29, -1, -1))]
    assert fingerprint(versions[0]) == fingerprint(versions[1]) != fingerprint(versions[2])


def test_the_readme_tells_how_to_ask(tmp_path: Path) -> None:
    text = (write_tiny(tmp_path / "m", seed=1) / "assets.extra/README.md").read_text()
    assert "A sum." in text and "- seed: 1" in text and "Doubles, and adds." in text
    assert "| input | `x` | float32 | (any) |" in text
    bodies = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert json.loads(bodies[1]) == {"signature_name": "double", "instances": [{"x": 2.5}]}
    assert "POST /v1/models/m:predict" in text


def test_batching_parameters_are_those_of_the_warm_up(tmp_path: Path) -> None:
    """Read as a server reads them, which refuses what the proto's rules do not allow."""
    file = write_tiny(tmp_path / "m") / "assets.extra/batching_parameters.txt"
    parameters = read_batching_parameters(file)
    assert parameters.allowed_batch_sizes == (1, 2, 4, 8, 16, 32)
    assert parameters.max_batch_size == 32
    # It pads with the first element, an item (tensorflow_serving/batching/batching_util.cc).
    assert not parameters.pad_variable_length_inputs


@pytest.mark.parametrize("form", ["", "_scann"])
@pytest.mark.parametrize("kind", ["recommender", "matcher", "cold_start"])
def test_warm_up_and_signature_travel_along(exports: Path, kind: str, form: str) -> None:
    name = kind + form
    folder = exports / name / "1"
    extra = folder / "assets.extra"
    records = [
        prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        for record in tf.data.TFRecordDataset(
            str(extra / "tf_serving_warmup_requests")
        ).as_numpy_iterator()
    ]
    told = json.loads((extra / "signature.json").read_text())
    assert {record.model_spec.name for record in records} == {name} == {told["model"]}
    sizes: dict[str, list[int]] = {}
    for record in records:
        key = record.model_spec.signature_name
        assert sorted(record.inputs) == sorted(told["signatures"][key]["inputs"])
        # Batching puts requests together along the first dimension of every input.
        (size,) = {proto.tensor_shape.dim[0].size for proto in record.inputs.values()}
        sizes.setdefault(key, []).append(size)
    assert sizes.pop("serving_default") == [1, 2, 4, 8, 16, 32]
    assert all(others == [1] for others in sizes.values())
    assert told["signatures"]["serving_default"] == describe_signature(folder)
    assert told["retrieval"] == ("scann" if name.endswith("scann") else "exact")


def test_only_what_the_function_reads_is_saved(exports: Path) -> None:
    """No optimizer, no metric, nothing twice: the encoder and one table of item vectors."""
    reader = tf.train.load_checkpoint(str(exports / "recommender" / "1" / "variables/variables"))
    names = [name for name in reader.get_variable_to_shape_map() if "_CHECKPOINTABLE" not in name]
    assert names
    assert all(name.startswith("read_variables/") for name in names)
    shapes = [reader.get_variable_to_shape_map()[name] for name in names]
    assert [NUM_ITEMS, 8] in shapes and [NUM_ITEMS + 1, 8] not in shapes


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
