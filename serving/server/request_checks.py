"""What is wrong with a request, in TF-Serving's codes, words and order.

The order: spec, servable, signature, number of inputs, names, output_filter, and then
what running would find: dtypes and shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from serving.tensor_protos import array_of

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


def check_inputs(
    inputs: Mapping[str, Any], signature: Mapping[str, Any]
) -> dict[str, npt.NDArray[Any]]:
    """The inputs as arrays, after checks of their number, names and bytes.

    Args:
        inputs: Input name -> ``TensorProto``.
        signature: Input name -> ``TensorInfo``.
    """
    if len(inputs) != len(signature):
        raise invalid_argument(_count_message(set(inputs), set(signature)))
    arrays = {}
    for alias, proto in inputs.items():
        if alias not in signature:
            raise invalid_argument(
                f"input tensor alias not found in signature: {alias}. "
                f"Inputs expected to be in the set {_braces(signature)}."
            )
        try:
            arrays[alias] = array_of(proto)
        except (ValueError, MemoryError) as error:
            raise invalid_argument(f"tensor parsing error: {alias}") from error
    return arrays


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
