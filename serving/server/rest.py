"""The REST API: JSON over HTTP, on the same functions as gRPC.

Follows TF-Serving's ``model_servers/http_server.cc``, ``http_rest_api_handler.cc`` and
``http_rest_api_util.cc``.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any, Final

import grpc
from aiohttp import web
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.saved_models import SERVING_DEFAULT
from serving.server import inference, json_responses, services
from serving.server.inference import SIGNATURE_FIELD, ServerCore
from serving.server.json_requests import fill_example_request, fill_inputs, read_document
from serving.server.long_work import beside
from serving.server.metrics import status_name
from serving.server.options import ServerOptions
from serving.server.request_checks import RequestError, invalid_argument
from serving.server.rest_paths import API, Call

_LOG = logging.getLogger(__name__)

_CODES: Final = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
_CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


class RestApi:
    """Answers HTTP requests, for the event loop that it is made in.

    Args:
        core: What answers.
        options: Threads, timeout, CORS, bounds.
        metrics_path: Where the page for Prometheus is; None for nowhere.
    """

    def __init__(self, core: ServerCore, options: ServerOptions, metrics_path: str | None = None):
        self._core = core
        self._options = options
        self._metrics_path = metrics_path
        # TF-Serving's threads: as many requests are worked on at once, the others wait.
        self._threads = asyncio.Semaphore(options.rest_api_num_threads)
        self._waiting = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers any request."""
        path = request.rel_url.raw_path
        if path == self._metrics_path:
            page = self._core.metrics.page().encode()
            return web.Response(body=page, headers={"Content-Type": "text/plain"})
        if not API.fullmatch(path):
            return web.Response(status=404, text="Not Found\n")
        self._waiting += 1
        try:
            return await self._handle_api(request, path)
        finally:
            self._waiting -= 1

    async def _handle_api(self, request: web.Request, path: str) -> web.Response:
        begin, call = time.perf_counter(), Call()
        error: RequestError | None = None
        headers = {"Content-Type": "application/json"}
        try:
            if request.method == "OPTIONS":
                body, headers = b"", {}
                _check_origin(request)
            else:
                body = await self._answer(request, path, call)
        except RequestError as problem:
            error = problem
            body = json_responses.error_body(error.message) if headers else b""
        metrics = self._core.metrics
        if error is None:
            seconds = time.perf_counter() - begin
            metrics.time_request(call.name, call.method, "REST", seconds)
        metrics.count_request(call.name, status_name(error))
        return web.Response(
            status=_http_status(error),
            body=body,
            headers=headers | (_CORS if self._options.rest_api_enable_cors_support else {}),
        )

    async def _answer(self, request: web.Request, path: str, call: Call) -> bytes:
        """The body of an answer.

        Raises:
            RequestError: for anything that goes wrong.
        """
        if self._waiting > self._options.max_concurrent_requests:
            raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many requests wait")
        content = await _read(request)
        try:
            async with self._threads:
                call.read(request.method, path)
                if request.method == "POST":
                    return await self._run(call, content)
                return await self._tell(call)
        except RequestError:
            raise
        except RecursionError as error:
            raise invalid_argument("JSON Parse error: values are nested too deeply") from error
        except Exception as error:
            _LOG.exception("%s %s failed", request.method, path)
            raise RequestError(
                grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
            ) from error

    async def _run(self, call: Call, content: bytes) -> bytes:
        millis = self._options.rest_api_timeout_in_ms
        timeout = millis / 1e3 if millis > 0 else None
        if call.method == "classify":
            request = call.fill(classification_pb2.ClassificationRequest())
            await beside(len(content), fill_example_request, content, request)
            found = await inference.classify(self._core, request, timeout)
            return json_responses.classify_body(found.result)
        if call.method == "regress":
            request = call.fill(regression_pb2.RegressionRequest())
            await beside(len(content), fill_example_request, content, request)
            found = await inference.regress(self._core, request, timeout)
            return json_responses.regress_body(found.result)
        request = call.fill(predict_pb2.PredictRequest())
        document = await beside(len(content), read_document, content, request)
        infos = self._inputs(request.model_spec)
        by_rows = await beside(len(content), fill_inputs, document, infos, request)
        outputs = (await inference.predict(self._core, request, timeout)).outputs
        size = sum(tensor.ByteSize() for tensor in outputs.values())
        return await beside(size, json_responses.predict_body, outputs, by_rows)

    async def _tell(self, call: Call) -> bytes:
        if not call.name:
            raise invalid_argument("Missing model name in request.")
        if call.resource == "metadata":
            request = call.fill(get_model_metadata_pb2.GetModelMetadataRequest())
            request.metadata_field.append(SIGNATURE_FIELD)
            metadata = await inference.get_model_metadata(self._core, request)
            return json_responses.metadata_body(metadata)
        status = call.fill(get_model_status_pb2.GetModelStatusRequest())
        return json_responses.status_body(await services.get_status(self._core, status))

    def _inputs(self, spec: Any) -> Any:
        """The inputs of a signature, whose types say how JSON is read."""
        key = spec.signature_name or SERVING_DEFAULT
        with self._core.manager.acquire(spec) as (_, model):
            if key not in model.signatures:
                raise invalid_argument(
                    f'Serving signature name: "{key}" not found in signature def'
                )
            return model.signatures[key].inputs


class _TooLargeError(RequestError):
    """429 would tell a client to try again."""


def _http_status(error: RequestError | None) -> int:
    if error is None:
        return 200
    return 413 if isinstance(error, _TooLargeError) else _CODES.get(error.code, 500)


async def _read(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise _TooLargeError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"The body is larger than {request.client_max_size} bytes",
        ) from error
    except web.RequestPayloadError as error:
        raise invalid_argument("The body cannot be decompressed") from error


def _check_origin(request: web.Request) -> None:
    if not re.search("https?://", request.headers.get("Origin", "")):
        raise RequestError(
            grpc.StatusCode.FAILED_PRECONDITION, "Origin header is missing in CORS preflight"
        )
