"""Classify, Regress, MultiInference and request batching over a real channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from example_model import CLASSIFY, REGRESS, save_example_model
from small_models import PATIENCE, Caller, add_version, config_text, failure
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from test_examples import GIVEN, classes_of, classification, multi, regression, values_of

from idp_tf.errors import ServingError, SettingsError
from serving.server import ModelServer
from serving.server.options import ServerOptions
from serving.tensor_protos import typed_proto

Launch = Callable[..., Caller]
BATCHES = """
max_batch_size { value: 4 }
batch_timeout_micros { value: %d }
max_enqueued_batches { value: 2 }
num_batch_threads { value: 1 }
allowed_batch_sizes: [2, 4]
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config that serves the model of examples as version 3 of ``m``."""
    folder = tmp_path_factory.mktemp("served")
    add_version(folder / "m", 3, save_example_model(folder / "template"))
    (folder / "models.config").write_text(config_text(("m", folder / "m")))
    return folder / "models.config"


@pytest.fixture(scope="module")
def batching_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("batching") / "batching.txt"
    file.write_text(BATCHES % 1_000)
    return file


@pytest.fixture(scope="module", params=["alone", "batched"])
def service(request: pytest.FixtureRequest, config: Path, batching_file: Path) -> Iterator[Any]:
    """PredictionService of a server that batches, and of one that does not."""
    batching = {"enable_batching": True, "batching_parameters_file": str(batching_file)}
    flags: dict[str, Any] = batching if request.param == "batched" else {}
    with ExitStack() as stack:
        server = stack.enter_context(ModelServer(config, 0, **flags))
        channel = stack.enter_context(grpc.insecure_channel(server.address))
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def test_classify(service: Any) -> None:
    response = service.Classify(classification("", *GIVEN), timeout=PATIENCE)
    assert classes_of(response.result) == [
        [("tea+", 2), ("tea-", -2)],
        [("pot+", -0.5), ("pot-", 0.5)],
    ]
    assert str(response.model_spec) == str(spec("serving_default"))


def test_a_label_that_is_no_text(service: Any) -> None:
    """TF-Serving sends such bytes in a field of text, which Python's clients cannot read."""
    example = tf.train.Example()
    example.features.feature["name"].bytes_list.value.append(b"\xff")
    assert failure(lambda: service.Classify(classification("", example), timeout=PATIENCE)) == (
        "INVALID_ARGUMENT",
        "Expected classes Tensor of UTF-8 texts. Got: b'\\xff+'",
    )


def test_regress(service: Any) -> None:
    response = service.Regress(regression("half", *GIVEN), timeout=PATIENCE)
    assert values_of(response.result) == [3, 1.75]
    assert str(response.model_spec) == str(spec("half"))


def test_multi_inference(service: Any) -> None:
    request = multi(("half", REGRESS), ("", CLASSIFY), given=GIVEN)
    half, label = service.MultiInference(request, timeout=PATIENCE).results
    assert values_of(half.regression_result) == [3, 1.75]
    assert classes_of(label.classification_result)[1] == [("pot+", -0.5), ("pot-", 0.5)]
    assert [str(r.model_spec) for r in (half, label)] == [
        str(spec("half")),
        str(spec("serving_default")),
    ]


def test_predict_over_examples(service: Any) -> None:
    request = predict_pb2.PredictRequest(output_filter=["scores"])
    request.model_spec.name = "m"
    examples = [example.SerializeToString() for example in GIVEN]
    request.inputs["inputs"].CopyFrom(typed_proto(np.array(examples, object)))
    response = service.Predict(request, timeout=PATIENCE)
    assert list(response.outputs) == ["scores"]
    assert list(response.outputs["scores"].float_val) == [2, -2, -0.5, 0.5]


def spec(signature: str) -> Any:
    """The model_spec that a response must have."""
    made = classification_pb2.ClassificationRequest().model_spec
    made.name, made.signature_name, made.version.value = "m", signature, 3
    return made


def spoiled(request: Any, **fields: Any) -> Any:
    """The request with a model_spec of these fields; the first task's, if it has tasks."""
    target = request.tasks[0].model_spec if hasattr(request, "tasks") else request.model_spec
    target.Clear()
    for name, value in fields.items():
        if name == "version":
            target.version.value = value
        else:
            setattr(target, name, value)
    return request


NO_NAME = ("INVALID_ARGUMENT", "ModelSpec has no name specified.")
MISSING = ("INVALID_ARGUMENT", "Missing ModelSpec")


@pytest.mark.parametrize(
    ("method", "request_", "expected"),
    [
        ("Classify", classification_pb2.ClassificationRequest(), MISSING),
        ("Regress", regression_pb2.RegressionRequest(), MISSING),
        ("MultiInference", inference_pb2.MultiInferenceRequest(), NO_NAME),
        ("Classify", spoiled(classification(""), signature_name="x"), NO_NAME),
        ("MultiInference", spoiled(multi(("half", REGRESS)), signature_name="x"), NO_NAME),
        (
            "Regress",
            spoiled(regression("half"), name="n"),
            ("NOT_FOUND", "Servable not found for request: Latest(n)"),
        ),
        (
            "MultiInference",
            spoiled(multi(("half", REGRESS)), name="m", version=4),
            ("NOT_FOUND", "Servable not found for request: Specific(m, 4)"),
        ),
        (
            "Classify",
            classification("no", *GIVEN),
            ("INVALID_ARGUMENT", "No signature was found with the name: no"),
        ),
        ("Regress", regression("half"), ("INVALID_ARGUMENT", "Input is empty.")),
        (
            "MultiInference",
            multi(("half", "predict"), given=GIVEN),
            ("UNIMPLEMENTED", "Unsupported signature method_name: predict"),
        ),
        (
            "Regress",
            regression("wide", *GIVEN),
            (
                "INVALID_ARGUMENT",
                "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] "
                "but got [2,2]",
            ),
        ),
    ],
)
def test_bad_requests(service: Any, method: str, request_: Any, expected: tuple[str, str]) -> None:
    assert failure(lambda: getattr(service, method)(request_, timeout=PATIENCE)) == expected


def test_method_names_are_checked_where_that_is_asked_for(config: Path) -> None:
    with (
        ModelServer(config, 0, enable_signature_method_name_check=True) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        service.Regress(regression("half", *GIVEN), timeout=PATIENCE)
        assert failure(lambda: service.Regress(regression("column", *GIVEN)))[1] == (
            "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/predict"
        )


def batching(tmp_path: Path, micros: int) -> dict[str, Any]:
    file = tmp_path / "batching.txt"
    file.write_text(BATCHES % micros)
    return {"enable_batching": True, "batching_parameters_file": str(file)}


def test_a_full_batch_does_not_wait_and_one_that_is_not_full_does(
    launch: Launch, tmp_path: Path
) -> None:
    """``batching/batching_session.cc``: four rows are a batch, three wait for an hour."""
    caller = launch(**batching(tmp_path, 3_600_000_000))
    asked = [
        caller.prediction.Predict.future(caller.request(x=x), timeout=PATIENCE)
        for x in (1.0, 2.0, 3.0)
    ]
    # Answered after the three were read, it shows that they wait.
    assert caller.states() == {1: "AVAILABLE"}
    assert not any(future.done() for future in asked)
    fourth = caller.prediction.Predict(caller.request(x=4.0), timeout=PATIENCE)
    answers = [*(future.result() for future in asked), fourth]
    assert [list(a.outputs["y"].float_val) for a in answers] == [[2.0], [4.0], [6.0], [8.0]]


@pytest.mark.parametrize("batched", [False, True])
def test_scalars_cannot_be_batched(config: Path, tmp_path: Path, batched: bool) -> None:
    """``batching/batching_util.h``: each input needs a first dimension."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", "scaled"
    request.inputs["x"].CopyFrom(typed_proto(np.array([2, 3], np.float32)))
    request.inputs["k"].CopyFrom(typed_proto(np.float32(3)))
    with (
        ModelServer(config, 0, **(batching(tmp_path, 0) if batched else {})) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        if not batched:
            answer = service.Predict(request, timeout=PATIENCE)
            assert list(answer.outputs["y"].float_val) == [6, 9]
            return
        assert failure(lambda: service.Predict(request, timeout=PATIENCE)) == (
            "INVALID_ARGUMENT",
            "Batching Run() input tensors must have at least one dimension",
        )


def test_more_rows_than_a_batch_holds(launch: Launch, tmp_path: Path) -> None:
    """``shared_batch_scheduler.h``, in TensorFlow."""
    caller = launch(**batching(tmp_path, 0))
    request = caller.request()
    request.inputs["x"].CopyFrom(typed_proto(np.ones(5, np.float32)))
    assert failure(lambda: caller.prediction.Predict(request, timeout=PATIENCE)) == (
        "INVALID_ARGUMENT",
        "Task size 5 is larger than maximum input batch size 4",
    )


def test_a_wrong_type_fails_alone(launch: Launch, tmp_path: Path) -> None:
    """It is found before a batch is formed: the requests beside it are answered."""
    caller = launch(**batching(tmp_path, 3_600_000_000))
    good = caller.prediction.Predict.future(caller.request(), timeout=PATIENCE)
    bad = caller.request()
    bad.inputs["x"].CopyFrom(typed_proto(np.ones(3, np.float64)))
    assert failure(lambda: caller.prediction.Predict(bad, timeout=PATIENCE)) == (
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but double is provided",
    )
    rest = caller.request()
    rest.inputs["x"].CopyFrom(typed_proto(np.array([1, 2, 3], np.float32)))
    answer = caller.prediction.Predict(rest, timeout=PATIENCE)
    assert list(answer.outputs["y"].float_val) == [2, 4, 6]
    assert list(good.result().outputs["y"].float_val) == [6]


def test_what_is_late_does_not_run(launch: Launch, tmp_path: Path) -> None:
    """It keeps its place in the batch, which runs without it."""
    caller = launch(**batching(tmp_path, 3_600_000_000))

    def ask(rows: int, timeout: float) -> Any:
        request = caller.request()
        request.inputs["x"].CopyFrom(typed_proto(np.ones(rows, np.float32)))
        return caller.prediction.Predict.future(request, timeout=timeout)

    late = ask(3, 0.2)
    assert failure(late.result)[0] == "DEADLINE_EXCEEDED"
    assert list(ask(1, PATIENCE).result().outputs["y"].float_val) == [2]


def test_stopping_answers_what_waits(launch: Launch, tmp_path: Path) -> None:
    """A batch that waits for more when the server stops is run in the time that is left."""
    caller = launch(**batching(tmp_path, 2_000_000), shutdown_grace_seconds=PATIENCE)
    waiting = caller.prediction.Predict.future(caller.request(), timeout=PATIENCE)
    with pytest.raises(grpc.FutureTimeoutError):
        waiting.result(timeout=0.5)
    caller.server.stop()
    assert list(waiting.result().outputs["y"].float_val) == [6]


def test_a_parameters_file_needs_batching() -> None:
    with pytest.raises(SettingsError) as caught:
        ServerOptions(model_config_file="m", batching_parameters_file="b")
    assert caught.value.problem == (
        "server_options.batching_parameters_file is set without setting "
        "server_options.enable_batching to true."
    )


def test_bad_parameters_stop_the_server_before_it_loads(config: Path, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("max_batch_size { value: 0 }")
    file = str(tmp_path / "b.txt")
    server = ModelServer(config, 0, enable_batching=True, batching_parameters_file=file)
    with pytest.raises(ServingError, match="max_batch_size must be positive"):
        server.start()
