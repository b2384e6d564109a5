"""A gRPC server that answers as it is told, and both clients behind one call.

Requests and answers are the wheel's messages, or bytes, so that the client's are read by
somebody else than who wrote them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from serving.client import AsyncServingClient, ServingClient

Method = Callable[[bytes, Any], bytes]
PREDICT = "/tensorflow.serving.PredictionService/Predict"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
HEALTH = "/grpc.health.v1.Health/Check"

KINDS = ("blocking", "asyncio")


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, methods: dict[str, Method]):
        self._methods = methods

    def service(self, details: Any) -> Any:
        method = self._methods.get(details.method)
        return method and grpc.unary_unary_rpc_method_handler(method)


@contextmanager
def fake_server(
    methods: dict[str, Method], port: int = 0, credentials: Any = None, **options: Any
) -> Iterator[str]:
    """Answers by the full names of the methods; yields the address."""
    server = grpc.server(
        futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)], **options
    )
    server.add_generic_rpc_handlers([_Handler(methods)])
    if credentials is None:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        bound = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        server.stop(None).wait()


def ask(kind: str, address: str, method: str, *args: Any, **options: Any) -> Any:
    """One call of a client's method; keyword arguments are the client's."""
    return ask_with(kind, address, lambda client: getattr(client, method)(*args), **options)


def ask_with(kind: str, address: str, use: Callable[[Any], Any], **options: Any) -> Any:
    """What comes of a use of a client; it may be a coroutine."""
    if kind == "blocking":
        with ServingClient(address, **options) as client:
            return use(client)

    async def go() -> Any:
        async with AsyncServingClient(address, **options) as client:
            return await use(client)

    return asyncio.run(go())


class Recorder:
    """Answers always the same, and keeps the requests."""

    def __init__(self, request_type: Any, answer: Any):
        self.requests: list[Any] = []
        self._request_type, self._answer = request_type, answer

    def __call__(self, request: bytes, context: Any) -> bytes:
        self.requests.append(self._request_type.FromString(request))
        return self._answer.SerializeToString()

    @property
    def inputs(self) -> dict[str, Any]:
        (request,) = self.requests
        return {name: tf.make_ndarray(proto).tolist() for name, proto in request.inputs.items()}


def predictor(**outputs: Any) -> Recorder:
    answer = predict_pb2.PredictResponse()
    answer.model_spec.version.value = 7
    answer.model_spec.signature_name = "recommend"
    for name, value in outputs.items():
        answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    return Recorder(predict_pb2.PredictRequest, answer)
