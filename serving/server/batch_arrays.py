"""Requests joined into one batch, and its answer cut into theirs again.

Follows TF-Serving's ``batching/batching_session.cc`` and ``batching/batching_util.cc``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

import grpc
import numpy as np
import numpy.typing as npt

from serving.server.request_checks import RequestError, invalid_argument

Arrays = Mapping[str, npt.NDArray[Any]]

_SHAPES_DIFFER: Final = (
    "Tensors with name '{}' from different tasks have different shapes and padding is turned "
    "off. Set pad_variable_length_inputs to true, or ensure that all tensors with the same "
    "name have equal dimensions starting with the first dim."
)


def count_rows(arrays: Arrays) -> int:
    """The size of dimension 0, which all inputs must share.

    Raises:
        RequestError: INVALID_ARGUMENT, if there is no input, a scalar, or sizes differ.
    """
    if not arrays:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    rows = set()
    for array in arrays.values():
        if array.ndim == 0:
            raise invalid_argument("Batching Run() input tensors must have at least one dimension")
        rows.add(len(array))
        if len(rows) > 1:
            raise invalid_argument(
                "Batching Run() input tensors must have equal 0th-dimension size"
            )
    return rows.pop()


def join_inputs(
    requests: Sequence[Arrays], padding: int, tensors: Mapping[str, str], *, pad: bool
) -> dict[str, npt.NDArray[Any]]:
    """The inputs of a batch: its requests' rows one below the other, then padding.

    Args:
        requests: Each request's inputs, of the same names.
        padding: How many rows to add: copies of the last request's first row.
        tensors: Input name -> tensor name, for messages.
        pad: Whether inner shapes are padded to the widest of the batch, each array with
            its own first element, at the end of each dimension.

    Raises:
        RequestError: FAILED_PRECONDITION, if inner shapes differ and ``pad`` is off;
            INVALID_ARGUMENT, if an array that must be padded has no element.
    """
    joined = {}
    for name in requests[0]:
        arrays = [request[name] for request in requests]
        if len({array.shape[1:] for array in arrays}) > 1:
            if not pad or len({array.ndim for array in arrays}) > 1:
                raise RequestError(
                    grpc.StatusCode.FAILED_PRECONDITION, _SHAPES_DIFFER.format(tensors[name])
                )
            arrays = _widen(arrays)
        if padding:
            arrays.append(np.repeat(_padding_row(arrays), padding, axis=0))
        joined[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return joined


def split_outputs(
    outputs: Arrays, sizes: Sequence[int], padded: int
) -> list[dict[str, npt.NDArray[Any]]]:
    """Each request's rows of a batch's outputs.

    Args:
        outputs: Output name -> array (padded, ...).
        sizes: The rows of each request, in the order in which they were joined.
        padded: The rows of the batch, padding included.

    Raises:
        RequestError: FAILED_PRECONDITION, if an output is no batch of that many rows.
    """
    for array in outputs.values():
        if array.ndim == 0:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions"
            )
        if len(array) != padded:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                "dimension sizes of the input tensors",
            )
    ends = list(accumulate(sizes))
    return [
        {name: array[end - size : end] for name, array in outputs.items()}
        for size, end in zip(sizes, ends, strict=True)
    ]


def split_inputs(arrays: Arrays, sizes: Sequence[int]) -> list[dict[str, npt.NDArray[Any]]]:
    """A large request cut into parts of those sizes."""
    return split_outputs(arrays, sizes, sum(sizes))


def _padding_row(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The first row of the last request that has one."""
    return next(array[:1] for array in reversed(arrays) if len(array))


def _widen(arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    inner = tuple(max(sizes) for sizes in zip(*(a.shape[1:] for a in arrays), strict=True))
    return [_pad_to(array, inner) for array in arrays]


def _pad_to(array: npt.NDArray[Any], inner: tuple[int, ...]) -> npt.NDArray[Any]:
    if array.shape[1:] == inner or not len(array):
        return array.reshape(len(array), *inner)
    if not array.size:
        raise invalid_argument("Got empty tensor in batch of non-empty tensors.")
    wide = np.full((len(array), *inner), array.flat[0], array.dtype)
    wide[tuple(slice(size) for size in array.shape)] = array
    return wide
