"""Warm-up requests of Classify, Regress and MultiInference, and through batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from example_model import CLASSIFY, REGRESS, save_example_model
from tensorflow_serving.apis import prediction_log_pb2
from test_examples import GIVEN, classification, multi, regression

from serving.server.batching_parameters import BatchingParameters
from serving.server.loaded_model import LoadedModel
from serving.server.request_checks import RequestError
from serving.tensor_protos import typed_proto

Log = prediction_log_pb2.PredictionLog


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return save_example_model(tmp_path / "1")


def write(version: Path, *logs: Any) -> None:
    (version / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(version / "assets.extra/tf_serving_warmup_requests")) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def watch_runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The signature and the rows of each run, as they come."""
    ran: list[tuple[str, int]] = []
    run = LoadedModel.run

    def note(self: LoadedModel, key: str, arrays: Any, outputs: Any) -> Any:
        ran.append((key, len(next(iter(arrays.values())))))
        return run(self, key, arrays, outputs)

    monkeypatch.setattr(LoadedModel, "run", note)
    return ran


def test_each_kind_is_run(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``servables/tensorflow/saved_model_warmup.cc``."""
    ran = watch_runs(monkeypatch)
    both = multi(("column", REGRESS), ("scores", CLASSIFY), given=GIVEN[:1])
    write(
        version,
        Log(classify_log={"request": classification("", *GIVEN)}),
        Log(regress_log={"request": regression("half", *GIVEN)}),
        Log(multi_inference_log={"request": both}),
    )
    LoadedModel(version).close()
    assert ran == [("serving_default", 2), ("half", 2), ("column", 1), ("scores", 1)]


def test_one_that_fails_fails_the_load(version: Path) -> None:
    """As a Predict does; the answer, too, must be a regression."""
    write(version, Log(regress_log={"request": regression("one", *GIVEN)}))
    with pytest.raises(RequestError, match="Input batch size did not match output batch size"):
        LoadedModel(version)


def test_a_session_run_is_no_warmup(version: Path) -> None:
    """``saved_model_warmup.cc`` names the field's number."""
    write(version, Log(session_run_log={}))
    with pytest.raises(RequestError, match="^UNIMPLEMENTED: Unsupported log_type for warmup: 5$"):
        LoadedModel(version)


def predict_log(signature: str, **inputs: Any) -> Any:
    log = Log()
    log.predict_log.request.model_spec.signature_name = signature
    for name, value in inputs.items():
        log.predict_log.request.inputs[name].CopyFrom(typed_proto(value))
    return log


def test_batches_warm_up_in_the_sizes_that_will_run(
    version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session that is warmed up is the batching one (``saved_model_bundle_factory.cc``)."""
    ran = watch_runs(monkeypatch)
    texts = np.array([example.SerializeToString() for example in GIVEN], object)
    write(
        version,
        predict_log("half", inputs=texts[:1]),
        Log(regress_log={"request": regression("column", *GIVEN, *GIVEN[:1])}),
        predict_log("half", inputs=np.tile(texts, 5)),
    )
    batching = BatchingParameters(
        max_batch_size=16,
        allowed_batch_sizes=(2, 4, 16),
        enable_large_batch_splitting=True,
        max_execution_batch_size=4,
    )
    LoadedModel(version, batching=batching).close()
    assert ran == [("half", 2), ("column", 4), ("half", 4), ("half", 4), ("half", 2)]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"x": np.ones(2, np.float32), "k": np.float32(3)},
            "Batching Run() input tensors must have at least one dimension",
        ),
        (
            {"inputs": np.full(5, b"", object)},
            "Task size 5 is larger than maximum input batch size 4",
        ),
    ],
    ids=["scalar", "large"],
)
def test_what_cannot_be_batched_does_not_load(
    version: Path, inputs: dict[str, Any], message: str
) -> None:
    """A version that warms up well alone may fail on a server that batches."""
    write(version, predict_log("scaled" if "k" in inputs else "half", **inputs))
    LoadedModel(version).close()
    with pytest.raises(RequestError) as caught:
        LoadedModel(version, batching=BatchingParameters(max_batch_size=4))
    assert (caught.value.code.name, caught.value.message) == ("INVALID_ARGUMENT", message)
