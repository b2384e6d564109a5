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
    np.dtype(np.int64): (9, "int64_val"),
    np.dtype(np.bool_): (10, "bool_val"),
    np.dtype(np.uint32): (22, "uint32_val"),
    np.dtype(np.uint64): (23, "uint64_val"),
}
_BY_NUMBER: Final = {number: (dtype, field) for dtype, (number, field) in _FIELDS.items()}


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
    if array.dtype not in _FIELDS:
        raise ValueError(f"arrays of {array.dtype} cannot be sent")
    number, field = _FIELDS[array.dtype]
    proto.dtype = number
    # An array without axes has a shape, too.
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.ravel().tolist()
    if field == "string_val":
        flat = [text.encode() if isinstance(text, str) else text for text in flat]
    try:
        getattr(proto, field).extend(flat)
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
    if proto.dtype not in _BY_NUMBER:
        raise ValueError(f"tensors of the type {proto.dtype} cannot be read")
    dtype, field = _BY_NUMBER[proto.dtype]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError("the shape is not known in full")
    count = math.prod(shape)
    if count > MAX_ELEMENTS:
        raise ValueError(f"{count} elements are more than {MAX_ELEMENTS}")
    if proto.tensor_content and field != "string_val":
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = list(getattr(proto, field))[:count]
    if field == "int_val":
        # It holds 32 bits; TensorFlow takes the lower ones.
        values = np.array(values, np.int32).astype(dtype).tolist()
    filler = values[-1] if values else (b"" if field == "string_val" else 0)
    array = np.full(count, filler, dtype)
    array[: len(values)] = values
    return array.reshape(shape)
