"""Tensors in typed fields."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.tensor_protos import MAX_ELEMENTS, array_of, typed_proto

DTYPES = (
    *("float16", "float32", "float64", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
NUMBERS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: st_numpy.arrays(dtype, st_numpy.array_shapes(min_dims=0, min_side=0))
)


@given(NUMBERS)
def test_tensorflow_reads_what_is_written(array: np.ndarray) -> None:
    proto = typed_proto(array)
    assert proto.tensor_content == b""
    read = tf.make_ndarray(proto)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@given(NUMBERS)
def test_reads_what_tensorflow_writes(array: np.ndarray) -> None:
    read = array_of(tf.make_tensor_proto(array))
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


BFLOAT16 = tf.bfloat16.as_numpy_dtype


@pytest.mark.parametrize("values", [[], [0.5, -3.0, 1e38, float("inf"), 1 / 3]])
def test_bfloat16(values: list[float]) -> None:
    array = np.array(values, BFLOAT16)
    for read in (tf.make_ndarray(typed_proto(array)), array_of(tf.make_tensor_proto(array))):
        assert read.dtype == BFLOAT16
        np.testing.assert_array_equal(read, array)


def test_bfloat16_without_its_package() -> None:
    """A client need not have it, and may import it at any time. 0x3F80 is 1."""
    program = """if True:
        from serving import wire
        from serving.tensors import array_of
        proto = wire.TensorProto(dtype=14, half_val=[0x3F80])
        try:
            array_of(proto)
        except ValueError as error:
            print(error)
        import ml_dtypes
        print(array_of(proto).astype(float))
    """
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    told = "bfloat16 needs the package ml_dtypes: install and import it"
    assert done.stdout.splitlines() == [told, "1.0"]


@pytest.mark.parametrize("dtype", [*DTYPES, BFLOAT16, "S3"])
def test_more_values_than_are_copied_at_once(dtype: Any) -> None:
    """By TensorFlow's functions, which copy all at once."""
    array = (np.arange(150_000) % 251).astype(dtype)
    array = array.astype(object) if dtype == "S3" else array
    np.testing.assert_array_equal(tf.make_ndarray(typed_proto(array)), array)
    np.testing.assert_array_equal(array_of(typed_proto(array)), array)


@given(st.lists(st.binary(max_size=5), max_size=5))
def test_strings_survive(texts: list[bytes]) -> None:
    array = np.array(texts, dtype=object)
    assert array_of(typed_proto(array)).tolist() == texts


def test_zero_bytes_at_the_end_stay() -> None:
    """A serialized tf.Example with an empty text ends with one; NumPy's fixed widths drop it."""
    assert list(typed_proto([[b"\n\x00"], ["x"]]).string_val) == [b"\n\x00", b"x"]


def test_text_becomes_bytes() -> None:
    assert array_of(typed_proto([["thé", ""]])).tolist() == [["thé".encode(), b""]]


def proto_of(shape: list[int], **fields: Any) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(**fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def test_fewer_values_repeat_the_last() -> None:
    proto = proto_of([4], dtype=types_pb2.DT_INT32, int_val=[1, 2])
    assert array_of(proto).tolist() == [1, 2, 2, 2]
    assert array_of(proto_of([2], dtype=types_pb2.DT_FLOAT)).tolist() == [0.0, 0.0]
    parts = proto_of([3], dtype=types_pb2.DT_COMPLEX64, scomplex_val=[1, 2, 3, 4])
    assert array_of(parts).tolist() == [1 + 2j, 3 + 4j, 3 + 4j]
    # 0x3C00 is 1 in half precision.
    half = proto_of([2], dtype=types_pb2.DT_HALF, half_val=[0x3C00])
    assert array_of(half).tolist() == [1.0, 1.0]
    assert array_of(proto_of([2], dtype=types_pb2.DT_STRING)).tolist() == [b"", b""]


@pytest.mark.parametrize(
    "proto",
    [
        proto_of([1]),
        proto_of([-1], dtype=types_pb2.DT_INT32),
        proto_of([MAX_ELEMENTS + 1], dtype=types_pb2.DT_INT32, int_val=[1]),
        proto_of([2**40, 2**40], dtype=types_pb2.DT_INT32, int_val=[1]),
        proto_of([2], dtype=types_pb2.DT_INT32, tensor_content=b"\0" * 4),
        proto_of([2], dtype=types_pb2.DT_INT32, tensor_content=b"\0" * 7),
        proto_of([1], dtype=types_pb2.DT_RESOURCE),
        proto_of([1], dtype=types_pb2.DT_QINT8),
    ],
    ids=[
        *("no dtype", "unknown size", "too large", "overflow", "too short", "torn", "resource"),
        "quantised",
    ],
)
def test_protos_that_are_no_tensor(proto: tensor_pb2.TensorProto) -> None:
    with pytest.raises(ValueError, match=r"."):
        array_of(proto)


def test_an_unknown_rank() -> None:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_INT32, int_val=[1])
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(ValueError, match="not known in full"):
        array_of(proto)


@pytest.mark.parametrize("value", [[["a"], ["b", "c"]], np.zeros(1, "M8[D]"), [["a"], 3]])
def test_values_that_are_no_tensor(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        typed_proto(value)
