"""gRPC handlers of PredictionService and ModelService: thin, on ``inference`` and the manager.

Only the methods that are served are registered: any other is answered UNIMPLEMENTED
by gRPC itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.server import inference
from serving.server.inference import ServerCore
from serving.server.metrics import status_name
from serving.server.request_checks import RequestError, check_model_spec, invalid_argument

_LOG = logging.getLogger(__name__)

_COUNTED: Final = {
    inference.predict: "Predict",
    inference.classify: "Classify",
    inference.regress: "Regress",
}

Method = Callable[[ServerCore, Any, float | None], Awaitable[Any]]
"""(core, request, seconds that are left) -> response."""


def service_handlers(core: ServerCore) -> list[Any]:
    """The handlers to be added to a ``grpc.aio.Server``."""
    prediction: dict[str, tuple[Method, Any]] = {
        "Predict": (inference.predict, predict_pb2.PredictRequest),
        "Classify": (inference.classify, classification_pb2.ClassificationRequest),
        "Regress": (inference.regress, regression_pb2.RegressionRequest),
        "MultiInference": (inference.multi_inference, inference_pb2.MultiInferenceRequest),
        "GetModelMetadata": (
            inference.get_model_metadata,
            get_model_metadata_pb2.GetModelMetadataRequest,
        ),
    }
    return [
        grpc.method_handlers_generic_handler(
            "tensorflow.serving.PredictionService",
            {name: _handler(core, *method) for name, method in prediction.items()},
        ),
        grpc.method_handlers_generic_handler(
            "tensorflow.serving.ModelService",
            {
                "GetModelStatus": _handler(
                    core, get_status, get_model_status_pb2.GetModelStatusRequest
                ),
                "HandleReloadConfigRequest": _handler(
                    core, reload_config, model_management_pb2.ReloadConfigRequest
                ),
            },
        ),
    ]


async def get_status(core: ServerCore, request: Any, timeout: float | None = None) -> Any:
    """ModelService.GetModelStatus (``model_servers/get_model_status_impl.cc``)."""
    spec = check_model_spec(request)
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in core.manager.status(spec):
        status = response.model_version_status.add(version=version.number, state=version.state)
        # Filled even when all is well: REST shows "error_code": "OK".
        status.status.SetInParent()
        if version.error is not None:
            status.status.error_code = version.error.code.value[0]
            status.status.error_message = version.error.message
    return response


async def reload_config(core: ServerCore, request: Any, timeout: float | None = None) -> Any:
    """ModelService.HandleReloadConfigRequest (``model_servers/model_service_impl.cc``)."""
    if request.config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    before = {name: core.metrics.first_count(name) for name in request.metric_names}
    await core.manager.reload(request.config)
    response = model_management_pb2.ReloadConfigResponse()
    response.status.SetInParent()
    for name, count in before.items():
        increase = core.metrics.first_count(name) - count
        response.metric.add(name=name, int64_value_increase=increase)
    return response


def _handler(core: ServerCore, method: Method, request_type: Any) -> Any:
    async def handle(data: bytes, context: Any) -> Any:
        try:
            request = _parse(data, request_type)
            response = await _counted(core, method, request, context.time_remaining())
            return response.SerializeToString()
        except RequestError as error:
            code, details = error.code, error.details
        except Exception as error:
            _LOG.exception("%s failed", request_type.DESCRIPTOR.name)
            code, details = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
        return await context.abort(code, details)

    # Bytes come and go as they are, so that a request that cannot be parsed gets its own answer.
    return grpc.unary_unary_rpc_method_handler(handle)


async def _counted(core: ServerCore, method: Method, request: Any, timeout: float | None) -> Any:
    """Runs a method, and counts it where TF-Serving does (``prediction_service_impl.cc``)."""
    if method not in _COUNTED:
        return await method(core, request, timeout)
    begin, name = time.perf_counter(), request.model_spec.name
    try:
        response = await method(core, request, timeout)
    except Exception as error:
        core.metrics.count_request(name, status_name(error))
        raise
    seconds = time.perf_counter() - begin
    core.metrics.time_request(name, _COUNTED[method], "GRPC", seconds)
    core.metrics.count_request(name, status_name(None))
    return response


def _parse(data: bytes, request_type: Any) -> Any:
    try:
        return request_type.FromString(data)
    except DecodeError as error:
        raise RequestError(
            grpc.StatusCode.INTERNAL, f"not a {request_type.DESCRIPTOR.name}: {error}"
        ) from error
