"""gRPC handlers of PredictionService and ModelService.

Only the methods that are served are registered: any other is answered UNIMPLEMENTED
by gRPC itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from serving.saved_models import SERVING_DEFAULT
from serving.server.model_store import ModelStore
from serving.server.request_checks import RequestError, check_model_spec, invalid_argument

_LOG = logging.getLogger(__name__)
_SIGNATURE_FIELD: Final = "signature_def"


def service_handlers(store: ModelStore) -> list[Any]:
    """The handlers to be added to a ``grpc.Server``."""
    return [
        grpc.method_handlers_generic_handler(
            "tensorflow.serving.PredictionService",
            {
                "Predict": _handler(store, predict, predict_pb2.PredictRequest),
                "GetModelMetadata": _handler(
                    store, get_metadata, get_model_metadata_pb2.GetModelMetadataRequest
                ),
            },
        ),
        grpc.method_handlers_generic_handler(
            "tensorflow.serving.ModelService",
            {
                "GetModelStatus": _handler(
                    store, get_status, get_model_status_pb2.GetModelStatusRequest
                ),
            },
        ),
    ]


def predict(store: ModelStore, request: Any) -> Any:
    """PredictionService.Predict."""
    spec = check_model_spec(request)
    version, model = store.find(spec)
    outputs = model.predict(spec.signature_name, request.inputs, request.output_filter)
    response = predict_pb2.PredictResponse()
    response.model_spec.name = spec.name
    response.model_spec.signature_name = spec.signature_name or SERVING_DEFAULT
    response.model_spec.version.value = version
    for name, proto in outputs.items():
        response.outputs[name].CopyFrom(proto)
    return response


def get_metadata(store: ModelStore, request: Any) -> Any:
    """PredictionService.GetModelMetadata; the one field there is, is ``signature_def``."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for name in request.metadata_field:
        if name != _SIGNATURE_FIELD:
            raise invalid_argument(f"Metadata field {name} is not supported")
    spec = check_model_spec(request)
    version, model = store.find(spec)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key, signature in model.signatures.items():
        signatures.signature_def[key].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = spec.name
    response.model_spec.version.value = version
    response.metadata[_SIGNATURE_FIELD].Pack(signatures)
    return response


def get_status(store: ModelStore, request: Any) -> Any:
    """ModelService.GetModelStatus."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in store.status(request.model_spec):
        status = response.model_version_status.add(version=version.number, state=version.state)
        status.status.error_code = version.error_code
        status.status.error_message = version.error_message
    return response


def _handler(store: ModelStore, method: Callable[[ModelStore, Any], Any], request_type: Any) -> Any:
    def handle(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(store, request)
        except RequestError as error:
            context.abort(error.code, error.message)
        except Exception as error:
            _LOG.exception("%s failed", method.__name__)
            context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")

    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=request_type.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )
