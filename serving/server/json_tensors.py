"""JSON values to tensors, checked against the type that a signature wants.

Follows TF-Serving's ``util/json_tensor.cc``, in its words and order.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Final

import grpc
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving.server.json_text import shown, type_name, value_error
from serving.server.request_checks import RequestError, cpp_name, invalid_argument

_FLOATS: Final = {types_pb2.DT_FLOAT: "float_val", types_pb2.DT_DOUBLE: "double_val"}
# Field, least and greatest value.
_INT32: Final = ("int_val", -(1 << 31), (1 << 31) - 1)
_INTEGERS: Final = {
    types_pb2.DT_INT32: _INT32,
    types_pb2.DT_INT16: _INT32,
    types_pb2.DT_INT8: _INT32,
    types_pb2.DT_UINT8: _INT32,
    types_pb2.DT_INT64: ("int64_val", -(1 << 63), (1 << 63) - 1),
    types_pb2.DT_UINT32: ("uint32_val", 0, (1 << 32) - 1),
    types_pb2.DT_UINT64: ("uint64_val", 0, (1 << 64) - 1),
}
_SPACE: Final = re.compile(r"\s")


@dataclass(frozen=True)
class TensorValues:
    """What a JSON value holds, as a tensor's.

    Args:
        dtype: A ``DataType``.
        shape: The sizes of the nested lists; none for a value alone.
        values: All values, in the field's type.
    """

    dtype: int
    shape: list[int]
    values: list[Any]

    def fill(self, proto: Any, shape: list[int] | None = None) -> None:
        """Writes them to a ``TensorProto``, under another shape if one is given."""
        proto.dtype = self.dtype
        for size in self.shape if shape is None else shape:
            proto.tensor_shape.dim.add(size=size)
        getattr(proto, _field_of(self.dtype)).extend(self.values)


def read_tensor(value: Any, dtype: int) -> TensorValues:
    """A value, or lists of lists of values, as a tensor.

    Raises:
        RequestError: INVALID_ARGUMENT, if a value is of another type or lists differ in
            length or depth; UNIMPLEMENTED for types that JSON is not turned into.
    """
    tensor = TensorValues(dtype, _shape_of(value), [])
    _collect(value, 0, tensor)
    return tensor


def is_base64(value: Any) -> bool:
    """Whether a value is ``{"b64": "..."}``."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def decode_base64(value: Any) -> bytes:
    """The bytes of ``{"b64": "..."}``; the padding may be left out.

    Raises:
        RequestError: INVALID_ARGUMENT, if it is not that.
    """
    if not is_base64(value):
        raise value_error(value, "not formatted correctly for base64 data")
    text = _SPACE.sub("", value["b64"])
    if "=" not in text:
        text += "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def utf8(text: str) -> bytes:
    """A JSON string as bytes.

    Raises:
        RequestError: INVALID_ARGUMENT, if an escape stood for half a character.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise invalid_argument(
            "JSON Parse error: The surrogate pair in string is invalid."
        ) from error


def _shape_of(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _collect(value: Any, level: int, tensor: TensorValues) -> None:
    shape = tensor.shape
    if not isinstance(value, list):
        if level != len(shape):
            raise value_error(
                value,
                f"found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}",
            )
        tensor.values.append(_convert(value, tensor.dtype))
        return
    if level >= len(shape):
        raise invalid_argument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    if level + 1 == len(shape) and _can_take_all(value, tensor.dtype):
        tensor.values.extend(value)
        return
    for inner in value:
        _collect(inner, level + 1, tensor)


def _can_take_all(values: list[Any], dtype: int) -> bool:
    """Whether a list's values can be taken as they are; this is quick, and most can."""
    types = set(map(type, values))
    if dtype == types_pb2.DT_DOUBLE or dtype == types_pb2.DT_FLOAT:
        return types <= {float}
    if dtype in _INTEGERS and types == {int}:
        _, least, greatest = _INTEGERS[dtype]
        return least <= min(values) and max(values) <= greatest
    return False


def _convert(value: Any, dtype: int) -> Any:
    kind = type(value)
    if dtype == types_pb2.DT_STRING:
        if kind is str:
            return utf8(value)
        if kind is dict:
            return decode_base64(value)
    elif dtype in _INTEGERS:
        _, least, greatest = _INTEGERS[dtype]
        if kind is int and least <= value <= greatest:
            return value
    elif dtype in _FLOATS:
        if kind in (int, float):
            return _as_float(value)
    elif dtype == types_pb2.DT_BOOL:
        if kind is bool:
            return value
    elif kind is not dict:
        raise RequestError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"Conversion of JSON Value: {shown(value)} to type: {_name(dtype)}",
        )
    raise value_error(value, f"Type: {type_name(value)} is not of expected type: {_name(dtype)}")


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise invalid_argument(
            "JSON Parse error: Number too big to be stored in double."
        ) from error


def _name(dtype: int) -> str:
    return cpp_name(tf.as_dtype(dtype))


def _field_of(dtype: int) -> str:
    if dtype in _INTEGERS:
        return _INTEGERS[dtype][0]
    others = {types_pb2.DT_STRING: "string_val", types_pb2.DT_BOOL: "bool_val"}
    return _FLOATS.get(dtype) or others[dtype]
