"""Good requests: what a response holds, and in which fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from requests_of import (
    CLASSIFY_METHOD,
    EXAMPLES,
    GIVEN,
    PLAIN,
    REGRESS_METHOD,
    TYPES,
    classify,
    example,
    follows,
    metadata,
    multi,
    predict,
    regress,
    spec,
    status,
)
from served_models import DTYPES
from target import Target
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

PREDICT = "servables/tensorflow/predict_util.cc"
CLASSIFIER = "servables/tensorflow/classifier.cc"
REGRESSOR = "servables/tensorflow/regressor.cc"
MULTI = "servables/tensorflow/multi_inference.cc"
NUMBERS = {"a": np.int32([1, 2]), "b": np.float32([3, 4])}

FIELDS = {
    "float16": "half_val",
    "bfloat16": "half_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
    "float32": "float_val",
    "float64": "double_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "int64": "int64_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "string": "string_val",
}
"""TensorFlow's ``core/framework/tensor.proto``."""


@follows(PREDICT)
@pytest.mark.parametrize("signature", ["", "serving_default"])
@pytest.mark.parametrize("version", [None, 3])
def test_the_model_spec(target: Target, signature: str, version: int | None) -> None:
    """Name, signature and version are told, however they were asked for."""
    response = target.call("Predict", predict(signature=signature, version=version))
    assert response.model_spec == spec(PLAIN, "serving_default", 3)


@follows(PREDICT)
def test_typed_fields(target: Target) -> None:
    output = target.call("Predict", predict(inputs={"x": np.float32([1, 2])})).outputs["y"]
    wanted = tensor_pb2.TensorProto(dtype="DT_FLOAT", float_val=[2, 4])
    wanted.tensor_shape.dim.add(size=2)
    assert output == wanted


@follows(PREDICT)
@pytest.mark.parametrize(
    ("output_filter", "wanted"),
    [
        ([], ["product", "sum"]),
        (["sum"], ["sum"]),
        (["product"], ["product"]),
        (["sum", "product"], ["product", "sum"]),
    ],
)
def test_output_filter(target: Target, output_filter: list[str], wanted: list[str]) -> None:
    request = predict(signature="combine", inputs=NUMBERS, output_filter=output_filter)
    outputs = target.call("Predict", request).outputs
    assert sorted(outputs) == wanted
    values = {"sum": [4, 6], "product": [3, 8]}
    assert all(list(outputs[name].float_val) == values[name] for name in wanted)


@follows("tensorflow/cc/saved_model/util.cc")
@pytest.mark.parametrize(("given", "factor"), [({}, 10), ({"k": np.float32(3)}, 3)])
def test_an_input_with_a_default(target: Target, given: dict[str, Any], factor: int) -> None:
    request = predict(signature="optional", inputs={"x": np.float32([2]), **given})
    assert tf.make_ndarray(target.call("Predict", request).outputs["y"]) == [2 * factor]


@follows("tensorflow/core/framework/tensor.cc")
@pytest.mark.parametrize("dtype", [dtype.name for dtype in DTYPES])
@pytest.mark.parametrize("rows", [2, 0])
def test_dtypes(target: Target, dtype: str, rows: int) -> None:
    """What comes back is what was sent, in the dtype's own field."""
    array = values_of(tf.as_dtype(dtype))[:rows]
    request = predict(name=TYPES, signature=dtype, inputs={"x": array})
    output = target.call("Predict", request).outputs["y"]
    assert output.dtype == tf.as_dtype(dtype).as_datatype_enum
    parts = 2 if dtype.startswith("complex") else 1
    assert len(getattr(output, FIELDS[dtype])) == rows * parts
    assert not output.tensor_content
    np.testing.assert_array_equal(tf.make_ndarray(output), array)


def values_of(dtype: tf.DType) -> np.ndarray:
    """Two extremes."""
    if dtype == tf.string:
        return np.array([b"th\xc3\xa9", b"\x00\xff"], object)
    if dtype.is_bool:
        return np.array([True, False])
    if dtype.is_complex:
        return np.array([1e30 - 2j, 3j], dtype.as_numpy_dtype)
    return np.array([dtype.min, dtype.max], dtype.as_numpy_dtype)


def test_every_dtype_has_a_field() -> None:
    assert set(FIELDS) == {dtype.name for dtype in DTYPES}


@follows("tensorflow/core/framework/tensor.cc")
@pytest.mark.parametrize(
    ("given", "read"), [([], [0, 0, 0]), ([5], [5, 5, 5]), ([5, 6], [5, 6, 6])]
)
def test_fewer_values_than_elements(target: Target, given: list[int], read: list[int]) -> None:
    """The last is repeated; without any it is 0."""
    short = tensor_pb2.TensorProto(dtype="DT_INT32", int_val=given)
    short.tensor_shape.dim.add(size=3)
    request = predict(name=TYPES, signature="int32", inputs={"x": short})
    assert list(target.call("Predict", request).outputs["y"].int_val) == read


@follows(CLASSIFIER)
@pytest.mark.parametrize(
    ("signature", "labels", "scores"),
    [
        ("", [["tea+", "tea-"], ["pot+", "pot-"]], [[2, -2], [-0.5, 0.5]]),
        ("classes", [["tea+", "tea-"], ["pot+", "pot-"]], [[0, 0], [0, 0]]),
        ("scores", [["", ""], ["", ""]], [[2, -2], [-0.5, 0.5]]),
    ],
)
def test_classify(
    target: Target, signature: str, labels: list[list[str]], scores: list[list[float]]
) -> None:
    response = target.call("Classify", classify(signature))
    found = [each.classes for each in response.result.classifications]
    assert [[c.label for c in row] for row in found] == labels
    assert [[c.score for c in row] for row in found] == scores
    assert response.model_spec == spec(EXAMPLES, signature or "serving_default", 3)


@follows("servables/tensorflow/util.cc")
def test_a_context_stands_before_each_example(target: Target) -> None:
    """What the example says itself wins."""
    request = classify("", [example(2), *GIVEN[1:]], context=example(7, "cup"))
    found = [each.classes[0] for each in target.call("Classify", request).result.classifications]
    assert [(c.label, c.score) for c in found] == [("cup+", 2), ("pot+", -0.5)]


@follows(REGRESSOR)
@pytest.mark.parametrize(("signature", "values"), [("half", [3, 1.75]), ("column", [4, 2.75])])
def test_regress(target: Target, signature: str, values: list[float]) -> None:
    """Outputs of shape (n,) and (n, 1)."""
    response = target.call("Regress", regress(signature))
    assert [each.value for each in response.result.regressions] == values
    assert response.model_spec == spec(EXAMPLES, signature, 3)


@follows(MULTI)
def test_multi_inference(target: Target) -> None:
    request = multi(("half", REGRESS_METHOD), ("", CLASSIFY_METHOD), ("column", REGRESS_METHOD))
    half, label, column = target.call("MultiInference", request).results
    assert [each.value for each in half.regression_result.regressions] == [3, 1.75]
    assert [each.value for each in column.regression_result.regressions] == [4, 2.75]
    classes = [each.classes[1] for each in label.classification_result.classifications]
    assert [(c.label, c.score) for c in classes] == [("tea-", -2), ("pot-", 0.5)]
    assert [each.model_spec for each in (half, label, column)] == [
        spec(EXAMPLES, signature, 3) for signature in ("half", "serving_default", "column")
    ]


@follows("servables/tensorflow/get_model_metadata_impl.cc")
def test_metadata(target: Target) -> None:
    response = target.call("GetModelMetadata", metadata("signature_def", signature="s"))
    assert response.model_spec == spec(PLAIN, "", 3)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert list(response.metadata) == ["signature_def"]
    assert response.metadata["signature_def"].Unpack(found)
    keys = {"serving_default", "combine", "scale", "optional", "parse", "wait"}
    assert keys <= set(found.signature_def)
    combine = found.signature_def["combine"]
    assert combine.method_name == "tensorflow/serving/predict"
    assert [combine.inputs[name].dtype for name in "ab"] == [3, 1]
    assert sorted(combine.outputs) == ["product", "sum"]


@follows("model_servers/get_model_status_impl.cc")
@pytest.mark.parametrize("which", [{}, {"version": 3}, {"label": "any"}])
def test_status(target: Target, which: dict[str, Any]) -> None:
    """A label says nothing here; a version that is well has a status, of code 0."""
    (found,) = target.call("GetModelStatus", status(**which)).model_version_status
    assert (found.version, found.state) == (3, 30)
    assert found.HasField("status")
    assert (found.status.error_code, found.status.error_message) == (0, "")
