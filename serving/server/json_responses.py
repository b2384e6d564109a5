"""Answers of the REST API: messages to JSON, laid out as TF-Serving lays it out.

Follows TF-Serving's ``util/json_tensor.cc`` and ``model_servers/http_rest_api_util.cc``.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.server.inference import SIGNATURE_FIELD
from serving.server.json_text import INDENT, as_bytes, decimals, quoted
from serving.server.request_checks import cpp_name, invalid_argument

_WRITERS: Final[dict[int, tuple[str, Callable[[Any], list[str]]]]] = {
    types_pb2.DT_FLOAT: ("float_val", lambda values: decimals(values, np.float32)),
    types_pb2.DT_DOUBLE: ("double_val", lambda values: decimals(values, np.float64)),
    types_pb2.DT_STRING: ("string_val", lambda values: [quoted(value) for value in values]),
    types_pb2.DT_BOOL: ("bool_val", lambda values: ["true" if v else "false" for v in values]),
    **{
        dtype: (field, lambda values: [str(value) for value in values])
        for field, dtypes in {
            "int_val": (
                types_pb2.DT_INT32,
                types_pb2.DT_INT16,
                types_pb2.DT_INT8,
                types_pb2.DT_UINT8,
            ),
            "int64_val": (types_pb2.DT_INT64,),
            "uint32_val": (types_pb2.DT_UINT32,),
            "uint64_val": (types_pb2.DT_UINT64,),
        }.items()
        for dtype in dtypes
    },
}


def error_body(message: str) -> bytes:
    """The body of a request that failed."""
    return as_bytes(f'{{\n{INDENT}"error": {quoted(message)}\n}}')


def predict_body(outputs: Mapping[str, Any], by_rows: bool) -> bytes:
    """The outputs of a ``PredictResponse``.

    A single output stands without its name. Strings whose output's name ends in ``_bytes``
    are written as ``{"b64": "..."}``.

    Args:
        outputs: Output name -> ``TensorProto`` with typed fields.
        by_rows: Whether an element is written for each row, or a list for each output.

    Raises:
        RequestError: INVALID_ARGUMENT, if an output cannot be written so.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    tensors = {name: outputs[name] for name in sorted(outputs)}
    return as_bytes(_rows(tensors) if by_rows else _columns(tensors))


def classify_body(result: Any) -> bytes:
    """A ``ClassificationResult``: ``[label, score]`` for each class of each example.

    Raises:
        RequestError: INVALID_ARGUMENT, if there is none.
    """
    if not result.classifications:
        raise invalid_argument("Cannot convert empty ClassificationResults to JSON")
    rows = []
    for classifications in result.classifications:
        labels = [quoted(found.label) for found in classifications.classes]
        scores = decimals([found.score for found in classifications.classes], np.float32)
        pairs = (f"[{label}, {score}]" for label, score in zip(labels, scores, strict=True))
        rows.append(f"[{', '.join(pairs)}]")
    return as_bytes(f'{{\n{INDENT}"results": [{", ".join(rows)}\n{INDENT}]\n}}')


def regress_body(result: Any) -> bytes:
    """A ``RegressionResult``: a number for each example.

    Raises:
        RequestError: INVALID_ARGUMENT, if there is none.
    """
    if not result.regressions:
        raise invalid_argument("Cannot convert empty RegressionResults to JSON")
    values = decimals([found.value for found in result.regressions], np.float32)
    return as_bytes(f'{{\n{INDENT}"results": [{", ".join(values)}]\n}}')


def status_body(response: Any) -> bytes:
    """A ``GetModelStatusResponse``."""
    return as_bytes(_message(response, keep_names=False))


def metadata_body(response: Any) -> bytes:
    """A ``GetModelMetadataResponse``."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[SIGNATURE_FIELD].Unpack(signatures)
    spec, signature_def = (
        _message(message, keep_names=True) for message in (response.model_spec, signatures)
    )
    return as_bytes(
        f'{{\n"model_spec":{spec},\n"metadata": {{"signature_def": {signature_def}}}\n}}\n'
    )


def _message(message: Any, *, keep_names: bool) -> str:
    text = json_format.MessageToJson(
        message,
        indent=1,
        always_print_fields_with_no_presence=True,
        preserving_proto_field_name=keep_names,
        ensure_ascii=False,
    )
    return f"{text}\n"


def _rows(tensors: Mapping[str, Any]) -> str:
    count = _batch_size(tensors)
    named = len(tensors) > 1
    columns = {}
    for name, tensor in tensors.items():
        inner = _shape(tensor)[1:]
        texts, size = _texts(name, tensor, len(inner) + 2 + named), math.prod(inner)
        cut = (texts[size * row : size * (row + 1)] for row in range(count))
        columns[name] = [_nest(row, inner) for row in cut]
    if not count:
        items = ""
    elif named:
        items = ",".join(
            f"\n{INDENT * 2}{_object({name: rows[row] for name, rows in columns.items()}, 2)}"
            for row in range(count)
        )
        items += f"\n{INDENT}"
    else:
        (rows,) = columns.values()
        items = f"{', '.join(rows)}\n{INDENT}"
    return f'{{\n{INDENT}"predictions": [{items}]\n}}'


def _columns(tensors: Mapping[str, Any]) -> str:
    level = 1 if len(tensors) == 1 else 2
    written = {}
    for name, tensor in tensors.items():
        shape = _shape(tensor)
        written[name] = _nest(_texts(name, tensor, level + len(shape)), shape, level)
    (first, *others) = written.values()
    return f'{{\n{INDENT}"outputs": {_object(written, 1) if others else first}\n}}'


def _batch_size(tensors: Mapping[str, Any]) -> int:
    count = -1
    for name, tensor in tensors.items():
        shape = _shape(tensor)
        if not shape:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if count not in (-1, shape[0]):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {shape[0]} expecting: {count}"
            )
        count = shape[0]
    return count


def _shape(tensor: Any) -> list[int]:
    return [dim.size for dim in tensor.tensor_shape.dim]


def _texts(name: str, tensor: Any, level: int) -> list[str]:
    """The values of a tensor, each written; ``level`` is how deep they stand."""
    if tensor.dtype not in _WRITERS:
        raise invalid_argument(
            f"Failed to write JSON value for tensor type: {cpp_name(tf.as_dtype(tensor.dtype))}"
        )
    if tensor.dtype == types_pb2.DT_STRING and name.endswith("_bytes"):
        encoded = (base64.b64encode(value).decode() for value in tensor.string_val)
        return [_object({"b64": f'"{text}"'}, level) for text in encoded]
    field, write = _WRITERS[tensor.dtype]
    return write(getattr(tensor, field))


def _object(members: Mapping[str, str], level: int) -> str:
    """An object ``level`` deep, its values written already."""
    lines = (f"\n{INDENT * (level + 1)}{quoted(name)}: {text}" for name, text in members.items())
    return f"{{{','.join(lines)}\n{INDENT * level}}}"


def _nest(texts: Sequence[str], shape: Sequence[int], level: int | None = None) -> str:
    """Lists of a shape; in one line, or where a level is given, a line for each element."""
    if not shape:
        return texts[0]
    size, deeper = math.prod(shape[1:]), None if level is None else level + 1
    parts: Sequence[str] = texts
    if len(shape) > 1:
        parts = [
            _nest(texts[size * row : size * (row + 1)], shape[1:], deeper)
            for row in range(shape[0])
        ]
    if not parts:
        return "[]"
    if level is None:
        return f"[{', '.join(parts)}]"
    line = f"\n{INDENT * (level + 1)}"
    return f"[{line}{f',{line}'.join(parts)}\n{INDENT * level}]"
