"""Bodies of the REST API to messages and back, without a server.

Expected texts follow TF-Serving's util/json_tensor.cc, read by hand; the round trip is
checked by Python's own JSON parser and by reading the tensors again.
"""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from json_reading import read
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import classification_pb2, predict_pb2, regression_pb2

from serving.server.json_requests import fill_inputs
from serving.server.json_responses import classify_body, predict_body, regress_body
from serving.server.json_text import decimals, quoted
from serving.server.request_checks import RequestError
from serving.tensor_protos import array_of, typed_proto


def test_bytes_with_and_without_padding() -> None:
    found = read('{"instances": [{"b64": "aGVsbG8="}, {"b64": "aGVsbG8"}, "é"]}', x="string")
    assert found["x"].tolist() == [b"hello", b"hello", "é".encode()]


def test_an_empty_list_is_a_tensor_of_no_rows() -> None:
    assert read('{"inputs": [[], []]}', x="int32")["x"].shape == (2, 0)


@pytest.mark.parametrize(
    ("value", "float_text", "double_text"),
    [
        (0.0, "0.0", "0.0"),
        (-0.0, "-0.0", "-0.0"),
        (1.0, "1.0", "1.0"),
        (0.2, "0.2", "0.2"),
        (9000000.0, "9e+06", "9e+06"),
        (0.00003, "3e-05", "3e-05"),
        (1234567.0, "1234567.0", "1234567.0"),
        (1 / 3, "0.333333343", "0.33333333333333331"),
        (16777216.0, "16777216.0", "16777216.0"),
        (math.inf, "Infinity", "Infinity"),
        (-math.inf, "-Infinity", "-Infinity"),
        (math.nan, "NaN", "NaN"),
    ],
)
def test_decimals(value: float, float_text: str, double_text: str) -> None:
    assert decimals([float(np.float32(value))], np.float32) == [float_text]
    assert decimals([value], np.float64) == [double_text]


FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)
ARRAYS = st.one_of(
    *(
        hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3))
        for dtype in (np.float32, np.float64, np.int32, np.int64, np.uint32, np.uint64, np.bool_)
    ),
    hnp.arrays(object, (2, 1), elements=st.text().map(str.encode)),
)


@settings(max_examples=60, deadline=None)
@given(array=ARRAYS, other=hnp.arrays(np.float32, (2, 1), elements=FLOATS))
def test_columns_come_back_as_they_went(array: np.ndarray, other: np.ndarray) -> None:
    outputs = {"a": typed_proto(array), "b": typed_proto(other)}
    (written,) = json.loads(predict_body(outputs, by_rows=False)).values()
    infos = {name: meta_graph_pb2.TensorInfo(dtype=sent.dtype) for name, sent in outputs.items()}
    request = predict_pb2.PredictRequest()
    assert not fill_inputs({"inputs": written}, infos, request)
    for name, sent in (("a", array), ("b", other)):
        np.testing.assert_array_equal(array_of(request.inputs[name]), sent)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.binary(max_size=8), min_size=1, max_size=3),
    width=st.integers(0, 3),
)
def test_rows_come_back_as_they_went(texts: list[bytes], width: int) -> None:
    raw = np.array(texts, object)
    numbers = np.arange(len(texts) * width, dtype=np.int64).reshape(len(texts), width)
    outputs = {"raw_bytes": typed_proto(raw), "n": typed_proto(numbers)}
    body = predict_body(outputs, by_rows=True)
    rows = json.loads(body)["predictions"]
    assert [base64.b64decode(row["raw_bytes"]["b64"]) for row in rows] == texts
    found = read(body.replace(b"predictions", b"instances", 1), raw_bytes="string", n="int64")
    assert found["raw_bytes"].tolist() == texts
    np.testing.assert_array_equal(found["n"], numbers)


@given(st.text())
def test_strings_are_json(text: str) -> None:
    assert json.loads(quoted(text)) == text


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    body = predict_body({"text": typed_proto(np.array([b"\xff\n"], object))}, by_rows=True)
    assert body == b'{\n    "predictions": ["\xff\\n"\n    ]\n}'


def test_no_rows() -> None:
    empty = {"y": typed_proto(np.zeros((0, 2), np.float32))}
    assert predict_body(empty, by_rows=True) == b'{\n    "predictions": []\n}'
    assert predict_body(empty, by_rows=False) == b'{\n    "outputs": []\n}'


def test_columns_of_a_matrix_and_an_empty_list() -> None:
    outputs = {"m": typed_proto(np.array([[1, 2]], np.int32)), "e": typed_proto(np.zeros((1, 0)))}
    assert predict_body(outputs, by_rows=False).decode() == (
        '{\n    "outputs": {\n        "e": [\n            []\n        ],\n        "m": [\n'
        "            [\n                1,\n                2\n            ]\n        ]\n    }\n}"
    )


def test_results_that_are_empty() -> None:
    for make, result, name in (
        (classify_body, classification_pb2.ClassificationResult(), "ClassificationResults"),
        (regress_body, regression_pb2.RegressionResult(), "RegressionResults"),
        (lambda outputs: predict_body(outputs, by_rows=True), {}, "tensor map"),
    ):
        with pytest.raises(RequestError) as error:
            make(result)
        assert error.value.message == f"Cannot convert empty {name} to JSON"


def test_a_label_that_needs_escapes() -> None:
    result = classification_pb2.ClassificationResult()
    result.classifications.add().classes.add(label='a"\n', score=0.1)
    result.classifications.add()
    assert classify_body(result) == b'{\n    "results": [[["a\\"\\n", 0.1]], []\n    ]\n}'
