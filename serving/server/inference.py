"""PredictionService's methods, whatever protocol a request came by.

Each follows the TF-Serving source that it names, and raises ``RequestError`` as that answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from serving.saved_models import SERVING_DEFAULT
from serving.server.manager import ModelManager
from serving.server.request_checks import RequestError, check_model_spec, invalid_argument

T = TypeVar("T")

SIGNATURE_FIELD: Final = "signature_def"
"""The one field of metadata that there is."""


@dataclass(frozen=True)
class ServerCore:
    """What requests are answered with.

    Args:
        manager: The models.
        executor: The threads that run sessions.
    """

    manager: ModelManager
    executor: Executor

    async def run(self, function: Callable[[], T], timeout: float | None) -> T:
        """Runs a function in a thread; when time is up it is not begun, or not waited for.

        Args:
            function: What is run.
            timeout: Seconds that are left, or None.

        Raises:
            RequestError: DEADLINE_EXCEEDED.
        """
        if timeout is not None and timeout <= 0:
            raise _too_late()
        try:
            async with asyncio.timeout(timeout):
                # To be cancelled takes a function that has not begun out of the queue.
                return await asyncio.get_running_loop().run_in_executor(self.executor, function)
        except TimeoutError as error:
            raise _too_late() from error


async def predict(core: ServerCore, request: Any, timeout: float | None = None) -> Any:
    """PredictionService.Predict (``servables/tensorflow/predict_impl.cc``).

    Args:
        core: What answers.
        request: A ``PredictRequest``.
        timeout: Seconds that are left, or None.

    Returns:
        A ``PredictResponse``.

    Raises:
        RequestError: for a bad request, a model that is not there, or DEADLINE_EXCEEDED.
    """
    spec = check_model_spec(request)
    with core.manager.acquire(spec) as (version, model):
        outputs = await core.run(
            lambda: model.predict(spec.signature_name, request.inputs, request.output_filter),
            timeout,
        )
    response = predict_pb2.PredictResponse()
    response.model_spec.name = spec.name
    response.model_spec.signature_name = spec.signature_name or SERVING_DEFAULT
    response.model_spec.version.value = version
    for name, proto in outputs.items():
        response.outputs[name].CopyFrom(proto)
    return response


async def get_model_metadata(core: ServerCore, request: Any, timeout: float | None = None) -> Any:
    """PredictionService.GetModelMetadata (``servables/tensorflow/get_model_metadata_impl.cc``).

    Args:
        core: What answers.
        request: A ``GetModelMetadataRequest``.
        timeout: Not needed: nothing is run.

    Returns:
        A ``GetModelMetadataResponse``.

    Raises:
        RequestError: for a bad request, or a model that is not there.
    """
    spec = check_model_spec(request)
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for name in request.metadata_field:
        if name != SIGNATURE_FIELD:
            raise invalid_argument(f"Metadata field {name} is not supported")
    signatures = get_model_metadata_pb2.SignatureDefMap()
    with core.manager.acquire(spec) as (version, model):
        for key, signature in model.signatures.items():
            signatures.signature_def[key].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = spec.name
    response.model_spec.version.value = version
    response.metadata[SIGNATURE_FIELD].Pack(signatures)
    return response


def _too_late() -> RequestError:
    return RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
