"""PredictionService.Predict: what is wrong with a request, and which of two wrongs is told."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from requests_of import BAD, PLAIN, Case, each, follows, predict
from target import Target
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2

MANAGER = "core/basic_manager.cc"
CORE = "model_servers/server_core.cc"
IMPL = "servables/tensorflow/predict_impl.cc"
UTIL = "servables/tensorflow/predict_util.cc"
INPUTS = "tensorflow/cc/saved_model/util.cc"
SESSION = "tensorflow/core/common_runtime/direct_session.cc"
FRAME = "tensorflow/core/framework/function.cc"

ONE = np.float32([1])
NO_MODEL = f"no-such-model-{PLAIN}"


def tensor(shape: list[int], **fields: Any) -> tensor_pb2.TensorProto:
    made = tensor_pb2.TensorProto(**{"dtype": types_pb2.DT_FLOAT, **fields})
    for size in shape:
        made.tensor_shape.dim.add(size=size)
    return made


def unknown_rank() -> tensor_pb2.TensorProto:
    made = tensor([], float_val=[1])
    made.tensor_shape.unknown_rank = True
    return made


def case(
    source: str, name: str, request: Any, code: str, message: str | re.Pattern[str] | None
) -> Case:
    return Case(source, name, "Predict", request, code, message)


def not_found(what: str) -> tuple[str, str]:
    return "NOT_FOUND", f"Servable not found for request: {what}"


NO_SIGNATURE = ("FAILED_PRECONDITION", 'Serving signature key "s" not found.')
NO_INPUT = (
    BAD,
    "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. "
    "Missing but required: {x}.",
)
TORN = (BAD, "tensor parsing error: x")
NO_LABEL = (BAD, "Unrecognized servable version label: l")
NO_NAME = (BAD, "ModelSpec has no name specified.")
NO_OUTPUT = (
    BAD,
    "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
)

CASES = [
    case(IMPL, "no model_spec", predict_pb2.PredictRequest(), BAD, "Missing ModelSpec"),
    case(CORE, "an empty name", predict(name=""), *NO_NAME),
    case(MANAGER, "an unknown model", predict(name=NO_MODEL), *not_found(f"Latest({NO_MODEL})")),
    case(MANAGER, "an unknown version", predict(version=7), *not_found(f"Specific({PLAIN}, 7)")),
    case(
        MANAGER,
        "a version of an unknown model",
        predict(name=NO_MODEL, version=7),
        *not_found(f"Specific({NO_MODEL}, 7)"),
    ),
    case(MANAGER, "a negative version", predict(version=-1), *not_found(f"Specific({PLAIN}, -1)")),
    case(CORE, "an unknown label", predict(label="l"), *NO_LABEL),
    case(UTIL, "an unknown signature", predict(signature="s"), *NO_SIGNATURE),
    case(UTIL, "no input", predict(inputs={}), *NO_INPUT),
    case(
        UTIL,
        "an input too many",
        predict(inputs={"x": ONE, "z": ONE}),
        BAD,
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
        "Missing but required: {}.",
    ),
    case(
        UTIL,
        "one of two inputs, of another name",
        predict(signature="combine", inputs={"z": ONE}),
        BAD,
        "input size does not match signature: 1!=2 len({z}) != len({a,b}). Sent extra: {z}. "
        "Missing but required: {a,b}.",
    ),
    case(
        UTIL,
        "more inputs than a signature with defaults has",
        predict(signature="optional", inputs={"x": ONE, "k": np.float32(1), "z": ONE}),
        BAD,
        "input size does not match signature: 3!=2 len({k,x,z}) != len({k,x}). Sent extra: {z}. "
        "Missing but required: {}.",
    ),
    case(
        INPUTS,
        "another name",
        predict(inputs={"z": ONE}),
        BAD,
        re.compile(
            r"Signature input alias: x\(feed name: \S+:0\) not found in request and no default "
            r"value provided\. Inputs expected to be in the request \{z\}, or default input "
            r"alias set: $"
        ),
    ),
    case(
        INPUTS,
        "no input that has no default",
        predict(signature="optional", inputs={"k": np.float32(1)}),
        BAD,
        re.compile(
            r"Signature input alias: x\(feed name: \S+:0\) not found in request and no default "
            r"value provided\. Inputs expected to be in the request \{k\}, or default input "
            r"alias set: k$"
        ),
    ),
    case(
        INPUTS,
        "another name beside a default",
        predict(signature="optional", inputs={"x": ONE, "z": ONE}),
        BAD,
        "Inputs contains invalid name. Used request inputs: x, request input: x,z",
    ),
    case(INPUTS, "no dtype", predict(inputs={"x": tensor([1], dtype=0)}), *TORN),
    case(
        INPUTS, "torn content", predict(inputs={"x": tensor([2], tensor_content=b"1234567")}), *TORN
    ),
    case(INPUTS, "an unknown size", predict(inputs={"x": tensor([-1], float_val=[1])}), *TORN),
    case(INPUTS, "an unknown rank", predict(inputs={"x": unknown_rank()}), *TORN),
    case(UTIL, "an unknown output", predict(output_filter=["y", "z"]), *NO_OUTPUT),
    case(
        UTIL,
        "an output twice",
        predict(output_filter=["y", "y"]),
        BAD,
        "duplicate output tensor alias: y",
    ),
    case(
        FRAME,
        "double for float",
        predict(inputs={"x": np.float64([1])}),
        BAD,
        "Expects arg[0] to be float but double is provided",
    ),
    case(
        FRAME,
        "int64 for int32",
        predict(signature="combine", inputs={"a": np.int64([1]), "b": ONE}),
        BAD,
        "Expects arg[0] to be int32 but int64 is provided",
    ),
    case(
        FRAME,
        "a string in the second place",
        predict(signature="combine", inputs={"a": np.int32([1]), "b": ["1"]}),
        BAD,
        "Expects arg[1] to be float but string is provided",
    ),
    case(
        "tensorflow/core/kernels/string_to_number_op.cc",
        "what an op says",
        predict(signature="parse", inputs={"text": ["tea"]}),
        BAD,
        re.compile("StringToNumberOp could not correctly convert string: tea"),
    ),
    case(
        "tensorflow/core/kernels/string_to_number_op.cc",
        "what an op says of bytes that are no text",
        predict(signature="parse", inputs={"text": [b"\xff\x84"]}),
        BAD,
        re.compile("StringToNumberOp could not correctly convert string: "),
    ),
    # The order of the checks: of two wrongs the first is told.
    case(CORE, "no name before the label", predict(name="", label="l"), *NO_NAME),
    case(CORE, "the label before the model", predict(name=NO_MODEL, label="l"), *NO_LABEL),
    case(
        MANAGER,
        "the model before the signature",
        predict(name=NO_MODEL, signature="s"),
        *not_found(f"Latest({NO_MODEL})"),
    ),
    case(UTIL, "the signature before inputs", predict(signature="s", inputs={}), *NO_SIGNATURE),
    case(
        UTIL,
        "the number before the bytes",
        predict(inputs={"x": tensor([1], dtype=0), "z": ONE}),
        BAD,
        re.compile("input size does not match signature: 2!=1"),
    ),
    case(
        UTIL,
        "the bytes before the filter",
        predict(inputs={"x": tensor([1], dtype=0)}, output_filter=["z"]),
        *TORN,
    ),
    case(
        UTIL,
        "the filter before the dtype",
        predict(inputs={"x": np.float64([1])}, output_filter=["z"]),
        *NO_OUTPUT,
    ),
    case(
        "model_servers/grpc_status_util.cc",
        "a long message is cut",
        predict(signature="s" * 5_000),
        "FAILED_PRECONDITION",
        'Serving signature key "' + "s" * (1_024 - 23) + "...TRUNCATED",
    ),
]


@each(CASES)
def test_predict(target: Target, case: Case) -> None:
    code, message = target.failure(case.method, case.request)
    assert code == case.code
    assert case.matches(message), message


@follows("apis/prediction_service.proto")
@pytest.mark.parametrize(
    ("path", "data", "code"),
    [
        ("PredictionService/Predict", b"\xff\xff\xff", "INTERNAL"),
        ("PredictionService/Guess", b"", "UNIMPLEMENTED"),
        ("SessionService/SessionRun", b"", "UNIMPLEMENTED"),
    ],
)
def test_what_grpc_says(target: Target, path: str, data: bytes, code: str) -> None:
    """The words are gRPC's, in each language its own."""
    call = target.channel.unary_unary(f"/tensorflow.serving.{path}")
    with pytest.raises(Exception, match=code) as caught:
        call(data, timeout=60)
    assert caught.value.code().name == code


@follows(SESSION)
def test_a_request_that_is_late(target: Target) -> None:
    file = target.local / "late"
    inputs = {"x": ONE, "file": [f"{target.remote}/late"]}
    with pytest.raises(Exception, match="DEADLINE_EXCEEDED"):
        target.call("Predict", predict(signature="wait", inputs=inputs), timeout=0.5)
    # It runs for nobody until then.
    file.touch()
    assert tf.make_ndarray(target.call("Predict", predict()).outputs["y"]) == [6]
