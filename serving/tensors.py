"""Arrays to and from any ``TensorProto``: TensorFlow's, or the client's in ``serving.wire``.

Both have the same fields, and that is all that is used of them. Needs NumPy alone.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

MAX_ELEMENTS: Final = 1 << 28
"""Most elements of a tensor that is read: a few bytes can claim any shape."""

_STEP: Final = 1 << 16
"""Values that are copied at once: Python's other threads wait for each step, not for all."""

# numpy dtype -> (number of the DataType, typed field); strings are objects.
# Source: tensorflow/core/framework/types.proto, tensor.proto.
_FIELDS: Final[dict[Any, tuple[int, str]]] = {
    np.dtype(np.float32): (1, "float_val"),
    np.dtype(np.float64): (2, "double_val"),
    np.dtype(np.int32): (3, "int_val"),
    np.dtype(np.uint8): (4, "int_val"),
    np.dtype(np.int16): (5, "int_val"),
    np.dtype(np.int8): (6, "int_val"),
    np.dtype(object): (7, "string_val"),
    np.dtype(np.complex64): (8, "scomplex_val"),
    np.dtype(np.int64): (9, "int64_val"),
    np.dtype(np.bool_): (10, "bool_val"),
    np.dtype(np.uint16): (17, "int_val"),
    np.dtype(np.complex128): (18, "dcomplex_val"),
    np.dtype(np.float16): (19, "half_val"),
    np.dtype(np.uint32): (22, "uint32_val"),
    np.dtype(np.uint64): (23, "uint64_val"),
}
_BY_NUMBER: Final = {number: (dtype, field) for dtype, (number, field) in _FIELDS.items()}
_BFLOAT16: Final = (14, "half_val")

# What a field holds where that is not the value itself: the bits, or both parts.
_RAW: Final[dict[str, Any]] = {
    "half_val": np.dtype(np.uint16),
    "scomplex_val": np.dtype(np.float32),
    "dcomplex_val": np.dtype(np.float64),
}


def fill_tensor(proto: Any, value: npt.ArrayLike) -> None:
    """Writes an array, or nested lists of numbers, ``str`` or ``bytes``, into a ``TensorProto``.

    Args:
        proto: An empty ``TensorProto``.
        value: The array; typed fields take it, not ``tensor_content``.

    Raises:
        ValueError: for a dtype that has no typed field here, or rows of unequal length.

    Example:
        >>> from serving import wire
        >>> proto = wire.TensorProto()
        >>> fill_tensor(proto, np.array([1, 2], np.int32))
        >>> proto.int_val
        [1, 2]
    """
    array = sendable_array(value)
    number, field = _field_of(array.dtype)
    proto.dtype = number
    # An array without axes has a shape, too.
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat, values = array.ravel(), getattr(proto, field)
    if field in _RAW:
        flat = flat.view(_RAW[field])
    for start in range(0, len(flat), _STEP):
        part = flat[start : start + _STEP].tolist()
        if field == "string_val":
            part = [text.encode() if isinstance(text, str) else text for text in part]
        try:
            values.extend(part)
        except TypeError as error:
            raise ValueError(f"not an array of strings: {error}") from error


def sendable_array(value: npt.ArrayLike) -> npt.NDArray[Any]:
    r"""An array, or nested lists, as an array; of texts one of objects.

    NumPy's texts of fixed width lose zero bytes at the end, and a serialized tf.Example may end
    with one: so texts go into objects straight from the lists.

    Example:
        >>> sendable_array([b"a\x00"])
        array([b'a\x00'], dtype=object)
    """
    array = np.asarray(value)
    if array.dtype.kind not in "US":
        return array
    return array.astype(object) if isinstance(value, np.ndarray) else np.array(value, object)


def array_of(proto: Any) -> npt.NDArray[Any]:
    """The array in a ``TensorProto``; strings come as ``bytes`` in an object array.

    As in TensorFlow, fewer values than elements repeat the last, and none mean zero.

    Raises:
        ValueError: if the proto is no whole tensor.
    """
    dtype, field = _type_of(proto.dtype)
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError("the shape is not known in full")
    count = math.prod(shape)
    if count > MAX_ELEMENTS:
        raise ValueError(f"{count} elements are more than {MAX_ELEMENTS}")
    if proto.tensor_content and field != "string_val":
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    return _values_of(getattr(proto, field), field, dtype, count).reshape(shape)


def _values_of(values: Any, field: str, dtype: Any, count: int) -> npt.NDArray[Any]:
    """So many elements of a typed field."""
    raw = _RAW.get(field, dtype)
    # A complex number is two values.
    width = dtype.itemsize // raw.itemsize
    given = min(len(values) // width, count)
    array = np.full(count * width, b"" if field == "string_val" else 0, raw)
    for start in range(0, given * width, _STEP):
        part = values[start : min(start + _STEP, given * width)]
        if field in ("int_val", "half_val"):
            # They hold 32 bits; TensorFlow takes the lower ones.
            part = np.array(part, np.int32).astype(raw)
        array[start : start + len(part)] = part
    array = array if raw is dtype else array.view(dtype)
    if given:
        array[given:] = array[given - 1]
    return array


def _field_of(dtype: Any) -> tuple[int, str]:
    """Number and field of a dtype that is sent."""
    if dtype in _FIELDS:
        return _FIELDS[dtype]
    # NumPy has no such type: it is the ml_dtypes package's.
    if dtype.name == "bfloat16":
        return _BFLOAT16
    raise ValueError(f"arrays of {dtype} cannot be sent")


def _type_of(number: int) -> tuple[Any, str]:
    """The dtype and the field of a DataType."""
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    if number != _BFLOAT16[0]:
        raise ValueError(f"tensors of the type {number} cannot be read")
    try:
        # NumPy knows it once ml_dtypes is imported, as TensorFlow does.
        return np.dtype("bfloat16"), _BFLOAT16[1]
    except TypeError as error:
        raise ValueError("bfloat16 needs the package ml_dtypes: install and import it") from error
