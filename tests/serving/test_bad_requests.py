"""Every wrong request over a real channel: TF-Serving's code and words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.server import ModelServer
from serving.tensor_protos import typed_proto

Spoil = Callable[[Any], Any]

SIGNATURE_INPUTS = "{item_ids,k}"


def clear_spec(request: Any) -> None:
    request.ClearField("model_spec")


def drop_k(request: Any) -> None:
    del request.inputs["k"]


def rename_k(request: Any) -> None:
    request.inputs["n"].CopyFrom(request.inputs["k"])
    del request.inputs["k"]


def set_k(value: Any) -> Spoil:
    return lambda request: request.inputs["k"].CopyFrom(typed_proto(value))


def set_items(value: Any) -> Spoil:
    return lambda request: request.inputs["item_ids"].CopyFrom(typed_proto(value))


def break_proto(request: Any) -> None:
    request.inputs["k"].dtype = types_pb2.DT_INVALID


def break_content(request: Any) -> None:
    request.inputs["k"].ClearField("int_val")
    request.inputs["k"].tensor_content = b"\0\0\0"


def set_spec(**fields: Any) -> Spoil:
    def spoil(request: Any) -> None:
        version = fields.pop("version", None)
        for name, value in fields.items():
            setattr(request.model_spec, name, value)
        if version is not None:
            request.model_spec.version.value = version

    return spoil


def set_filter(*names: str) -> Spoil:
    return lambda request: request.output_filter.extend(names)


def several(*spoilers: Spoil) -> Spoil:
    def spoil(request: Any) -> None:
        for one in spoilers:
            one(request)

    return spoil


BAD = "INVALID_ARGUMENT"
CASES: dict[str, tuple[Spoil, str, str]] = {
    "no spec": (clear_spec, BAD, "Missing ModelSpec"),
    "no name": (set_spec(name=""), BAD, "ModelSpec has no name specified."),
    "unknown model": (
        set_spec(name="x"),
        "NOT_FOUND",
        "Servable not found for request: Latest(x)",
    ),
    "unknown version": (
        set_spec(version=7),
        "NOT_FOUND",
        "Servable not found for request: Specific(recommender, 7)",
    ),
    "unknown model and version": (
        set_spec(name="x", version=7),
        "NOT_FOUND",
        "Servable not found for request: Specific(x, 7)",
    ),
    "unknown label": (
        set_spec(version_label="l"),
        BAD,
        "Unrecognized servable version label: l",
    ),
    "unknown signature": (
        set_spec(signature_name="s"),
        "FAILED_PRECONDITION",
        'Serving signature key "s" not found.',
    ),
    "too few inputs": (
        drop_k,
        BAD,
        f"input size does not match signature: 1!=2 len({{item_ids}}) != len({SIGNATURE_INPUTS}). "
        "Sent extra: {}. Missing but required: {k}.",
    ),
    "too many inputs": (
        lambda request: request.inputs["z"].CopyFrom(typed_proto(np.int32(1))),
        BAD,
        "input size does not match signature: 3!=2 len({item_ids,k,z}) "
        f"!= len({SIGNATURE_INPUTS}). Sent extra: {{z}}. Missing but required: {{}}.",
    ),
    "another input": (
        rename_k,
        BAD,
        "Signature input alias: k(feed name: serving_default_k:0) not found in request and no "
        "default value provided. Inputs expected to be in the request {item_ids,n}, or default "
        "input alias set: ",
    ),
    "no dtype": (break_proto, BAD, "tensor parsing error: k"),
    "torn content": (break_content, BAD, "tensor parsing error: k"),
    "unknown output": (
        set_filter("scores", "z"),
        BAD,
        "output tensor alias not found in signature: z "
        "Outputs expected to be in the set {item_ids,num_known,scores}.",
    ),
    "an output twice": (
        set_filter("scores", "scores"),
        BAD,
        "duplicate output tensor alias: scores",
    ),
    "k as int64": (
        set_k(np.int64(3)),
        BAD,
        "Expects arg[1] to be int32 but int64 is provided",
    ),
    "k as float": (
        set_k(np.float32(3)),
        BAD,
        "Expects arg[1] to be int32 but float is provided",
    ),
    "k as double": (
        set_k(np.float64(3)),
        BAD,
        "Expects arg[1] to be int32 but double is provided",
    ),
    "ids as numbers": (
        set_items(np.array([[1]], np.int32)),
        BAD,
        "Expects arg[0] to be string but int32 is provided",
    ),
    "ids as a vector": (
        set_items(["item-1"]),
        BAD,
        "input item_ids has the shape (1,), but the signature wants (None, None)",
    ),
    # The order of the checks, where several things are wrong.
    "model before signature": (
        set_spec(name="x", signature_name="s"),
        "NOT_FOUND",
        "Servable not found for request: Latest(x)",
    ),
    "signature before inputs": (
        several(set_spec(signature_name="s"), drop_k),
        "FAILED_PRECONDITION",
        'Serving signature key "s" not found.',
    ),
    "inputs before filter": (
        several(break_proto, set_filter("z")),
        BAD,
        "tensor parsing error: k",
    ),
    "filter before dtype": (
        several(set_k(np.int64(3)), set_filter("scores", "scores")),
        BAD,
        "duplicate output tensor alias: scores",
    ),
}


@pytest.fixture(scope="module")
def channel(server: ModelServer) -> Iterator[grpc.Channel]:
    """A plain channel, without this package's client."""
    with grpc.insecure_channel(server.address) as channel:
        yield channel


def answer_of(call: Callable[[Any], Any], request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    error: Any = caught.value
    return error.code().name, error.details()


@pytest.mark.parametrize(("spoil", "code", "message"), CASES.values(), ids=CASES.keys())
def test_predict(
    channel: grpc.Channel,
    predict_request: Callable[..., Any],
    spoil: Spoil,
    code: str,
    message: str,
) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_request()
    stub.Predict(request)  # Good before it is spoiled.
    spoil(request)
    assert answer_of(stub.Predict, request) == (code, message)


@pytest.mark.parametrize(
    ("name", "fields", "code", "message"),
    [
        (None, ["signature_def"], BAD, "Missing ModelSpec"),
        (
            "recommender",
            [],
            BAD,
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        ("recommender", ["weights"], BAD, "Metadata field weights is not supported"),
        ("", ["signature_def"], BAD, "ModelSpec has no name specified."),
        ("x", ["signature_def"], "NOT_FOUND", "Servable not found for request: Latest(x)"),
    ],
)
def test_metadata(
    channel: grpc.Channel, name: str | None, fields: list[str], code: str, message: str
) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if name is not None:
        request.model_spec.SetInParent()
        request.model_spec.name = name
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    assert answer_of(stub.GetModelMetadata, request) == (code, message)


@pytest.mark.parametrize(
    ("name", "version", "code", "message"),
    [
        (None, None, BAD, "Missing ModelSpec"),
        ("x", None, "NOT_FOUND", "Could not find any versions of model x"),
        ("recommender", 7, "NOT_FOUND", "Could not find version 7 of model recommender"),
    ],
)
def test_status(
    channel: grpc.Channel, name: str | None, version: int | None, code: str, message: str
) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    if name is not None:
        request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    assert answer_of(stub.GetModelStatus, request) == (code, message)


def test_methods_that_are_not_served(channel: grpc.Channel) -> None:
    """``tensorflow_model_server`` registers no SessionService either."""
    call = channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
    assert answer_of(call, b"")[0] == "UNIMPLEMENTED"


def test_long_messages_are_cut(channel: grpc.Channel, predict_request: Callable[..., Any]) -> None:
    request = predict_request()
    request.model_spec.signature_name = "s" * 5_000
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    _, message = answer_of(stub.Predict, request)
    assert message == 'Serving signature key "' + "s" * (1_024 - 23) + "...TRUNCATED"
