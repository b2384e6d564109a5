"""Reads REST bodies without a server."""

from __future__ import annotations

from typing import Any

import pytest
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2

from serving.server.json_requests import fill_inputs, read_document
from serving.server.request_checks import RequestError
from serving.tensor_protos import array_of

DTYPES: dict[str, Any] = {
    "float": types_pb2.DT_FLOAT,
    "double": types_pb2.DT_DOUBLE,
    "int32": types_pb2.DT_INT32,
    "uint8": types_pb2.DT_UINT8,
    "int64": types_pb2.DT_INT64,
    "uint32": types_pb2.DT_UINT32,
    "uint64": types_pb2.DT_UINT64,
    "string": types_pb2.DT_STRING,
    "bool": types_pb2.DT_BOOL,
    "half": types_pb2.DT_HALF,
}


def read(body: str | bytes, **types: str) -> dict[str, Any]:
    """The arrays that a predict body gives for inputs of these types."""
    infos = {name: meta_graph_pb2.TensorInfo(dtype=DTYPES[kind]) for name, kind in types.items()}
    request = predict_pb2.PredictRequest()
    document = read_document(body.encode() if isinstance(body, str) else body, request)
    fill_inputs(document, infos, request)
    return {name: array_of(proto) for name, proto in request.inputs.items()}


def refusal(body: str | bytes, **types: str) -> str:
    with pytest.raises(RequestError) as error:
        read(body, **types)
    return f"{error.value}"
