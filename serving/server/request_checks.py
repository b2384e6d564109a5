"""What is wrong with a request, in TF-Serving's codes, words and order.

The order: spec, servable, signature, number of inputs, names, output_filter, and then
what running would find: dtypes and shapes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from serving.tensor_protos import array_of

MAX_REPEATED: Final = 1 << 20
"""Most elements of a tensor that repeats its last value: a few bytes can claim any shape."""

MESSAGE_LIMIT: Final = 1024
"""TF-Serving cuts longer messages: they travel in a header of limited size."""


class RequestError(Exception):
    """A request that is answered by an error.

    Args:
        code: The gRPC code.
        message: What the client is told.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def details(self) -> str:
        """The message as gRPC carries it, cut where it is long (``grpc_status_util.cc``)."""
        if len(self.message) <= MESSAGE_LIMIT:
            return self.message
        return self.message[:MESSAGE_LIMIT] + "...TRUNCATED"

    def __str__(self) -> str:
        """As TF-Serving writes a status."""
        return f"{self.code.name}: {self.message}"


def invalid_argument(message: str) -> RequestError:
    """The error of a request that can never succeed."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def check_model_spec(request: Any) -> Any:
    """The request's model_spec, which must be there; ``ModelManager.acquire`` checks the rest."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return request.model_spec


def check_inputs(inputs: Mapping[str, Any], signature: Any) -> dict[str, npt.NDArray[Any]]:
    """The inputs as arrays, after checks of their number, names and bytes.

    An input that the request leaves out is what the signature's ``defaults`` say
    (``predict_util.cc``, and TensorFlow's ``cc/saved_model/util.cc``).

    Args:
        inputs: Input name -> ``TensorProto``.
        signature: The ``SignatureDef``.
    """
    wanted, defaults = signature.inputs, signature.defaults
    if len(inputs) > len(wanted) or (len(inputs) < len(wanted) and not defaults):
        raise invalid_argument(_count_message(set(inputs), set(wanted)))
    arrays = {}
    for alias in sorted(wanted):
        if alias not in inputs and alias not in defaults:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {wanted[alias].name}) not found in "
                "request and no default value provided. Inputs expected to be in the request "
                f"{_braces(inputs)}, or default input alias set: {','.join(sorted(defaults))}"
            )
        try:
            arrays[alias] = _read((inputs if alias in inputs else defaults)[alias])
        except (ValueError, MemoryError) as error:
            raise invalid_argument(f"tensor parsing error: {alias}") from error
    used = arrays.keys() & set(inputs)
    if len(used) < len(inputs):
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {','.join(sorted(used))}, "
            f"request input: {','.join(sorted(inputs))}"
        )
    return arrays


def _read(proto: Any) -> npt.NDArray[Any]:
    count = math.prod(dim.size for dim in proto.tensor_shape.dim)
    # A value takes a byte at least.
    if count > MAX_REPEATED and count > proto.ByteSize():
        raise ValueError(f"{count} elements are more than {MAX_REPEATED}, and were not sent")
    return array_of(proto)


def check_output_filter(output_filter: Iterable[str], outputs: Mapping[str, Any]) -> list[str]:
    """The outputs that are asked for; an empty filter means all."""
    wanted: list[str] = []
    for alias in output_filter:
        if alias not in outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_braces(outputs)}."
            )
        if alias in wanted:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        wanted.append(alias)
    return wanted or sorted(outputs)


def check_types(arrays: Mapping[str, npt.NDArray[Any]], signature: Mapping[str, Any]) -> None:
    """Refuses wrong dtypes and shapes, which ``Session.run`` would cast or explain otherwise."""
    by_tensor = sorted(arrays, key=lambda alias: str(signature[alias].name))
    for position, alias in enumerate(by_tensor):
        info, array = signature[alias], arrays[alias]
        wanted, given = tf.as_dtype(info.dtype), _dtype_of(array)
        if wanted != given:
            raise invalid_argument(
                f"Expects arg[{position}] to be {cpp_name(wanted)} "
                f"but {cpp_name(given)} is provided"
            )
        shape = tf.TensorShape(info.tensor_shape)
        if not shape.is_compatible_with(array.shape):
            raise invalid_argument(
                f"input {alias} has the shape {tf.TensorShape(array.shape)}, "
                f"but the signature wants {shape}"
            )


def _dtype_of(array: npt.NDArray[Any]) -> tf.DType:
    return tf.string if array.dtype == np.dtype(object) else tf.as_dtype(array.dtype)


def cpp_name(dtype: tf.DType) -> str:
    """What TensorFlow's C++ calls a type in messages."""
    names = {"float16": "half", "float32": "float", "float64": "double"}
    return names.get(dtype.name, str(dtype.name))


def _braces(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _count_message(given: set[str], wanted: set[str]) -> str:
    return (
        f"input size does not match signature: {len(given)}!={len(wanted)} "
        f"len({_braces(given)}) != len({_braces(wanted)}). "
        f"Sent extra: {_braces(given - wanted)}. Missing but required: {_braces(wanted - given)}."
    )
