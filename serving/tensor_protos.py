"""Arrays to and from ``TensorProto``, in typed fields as TF-Serving answers.

``tf.make_tensor_proto`` packs numbers into ``tensor_content`` instead, which
clients that read ``float_val`` or ``int_val`` don't see.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tensorflow.core.framework import tensor_pb2, types_pb2

MAX_ELEMENTS: Final = 1 << 28
"""Most elements of a tensor that is read: a few bytes can claim any shape."""

# numpy dtype -> (enum, typed field); strings are objects.
_FIELDS: Final[dict[Any, tuple[int, str]]] = {
    np.dtype(np.float32): (types_pb2.DT_FLOAT, "float_val"),
    np.dtype(np.float64): (types_pb2.DT_DOUBLE, "double_val"),
    np.dtype(np.int8): (types_pb2.DT_INT8, "int_val"),
    np.dtype(np.int16): (types_pb2.DT_INT16, "int_val"),
    np.dtype(np.int32): (types_pb2.DT_INT32, "int_val"),
    np.dtype(np.int64): (types_pb2.DT_INT64, "int64_val"),
    np.dtype(np.uint8): (types_pb2.DT_UINT8, "int_val"),
    np.dtype(np.uint32): (types_pb2.DT_UINT32, "uint32_val"),
    np.dtype(np.uint64): (types_pb2.DT_UINT64, "uint64_val"),
    np.dtype(np.bool_): (types_pb2.DT_BOOL, "bool_val"),
    np.dtype(object): (types_pb2.DT_STRING, "string_val"),
}
_BY_ENUM: Final = {enum: (dtype, field) for dtype, (enum, field) in _FIELDS.items()}


def typed_proto(value: npt.ArrayLike) -> tensor_pb2.TensorProto:
    """An array, or nested lists of numbers, ``str`` or ``bytes``, as a ``TensorProto``.

    Raises:
        ValueError: for a dtype that has no typed field here, or rows of unequal length.

    Example:
        >>> typed_proto(np.array([1, 2], np.int32)).int_val
        [1, 2]
    """
    array = np.asarray(value)
    if array.dtype.kind in "US":
        array = array.astype(object)
    if array.dtype not in _FIELDS:
        raise ValueError(f"arrays of {array.dtype} cannot be sent")
    enum, field = _FIELDS[array.dtype]
    proto = tensor_pb2.TensorProto(dtype=enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.ravel().tolist()
    if field == "string_val":
        flat = [text.encode() if isinstance(text, str) else text for text in flat]
    try:
        getattr(proto, field).extend(flat)
    except TypeError as error:
        raise ValueError(f"not an array of strings: {error}") from error
    return proto


def array_of(proto: tensor_pb2.TensorProto) -> npt.NDArray[Any]:
    """The array in a ``TensorProto``; strings come as ``bytes`` in an object array.

    As in TensorFlow, fewer values than elements repeat the last, and none mean zero.

    Raises:
        ValueError: if the proto is no whole tensor.
    """
    if proto.dtype not in _BY_ENUM:
        raise ValueError(f"tensors of the type {proto.dtype} cannot be read")
    dtype, field = _BY_ENUM[proto.dtype]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError("the shape is not known in full")
    count = math.prod(shape)
    if count > MAX_ELEMENTS:
        raise ValueError(f"{count} elements are more than {MAX_ELEMENTS}")
    if proto.tensor_content and field != "string_val":
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = list(getattr(proto, field))[:count]
    filler = values[-1] if values else (b"" if field == "string_val" else 0)
    array = np.full(count, filler, dtype)
    array[: len(values)] = values
    return array.reshape(shape)
