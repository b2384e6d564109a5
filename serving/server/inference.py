"""PredictionService's methods, whatever protocol a request came by.

Each follows the TF-Serving source that it names, and raises ``RequestError`` as that answers.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import grpc
import numpy.typing as npt
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.saved_models import SERVING_DEFAULT
from serving.server import examples
from serving.server.batching import RequestBatcher
from serving.server.loaded_model import LoadedModel
from serving.server.long_work import beside
from serving.server.manager import ModelManager
from serving.server.metrics import Metrics
from serving.server.request_checks import RequestError, check_model_spec, invalid_argument
from serving.tensors import fill_tensor

T = TypeVar("T")

SIGNATURE_FIELD: Final = "signature_def"
"""The one field of metadata that there is."""


@dataclass(frozen=True)
class ServerCore:
    """What requests are answered with.

    Args:
        manager: The models.
        executor: The threads that run sessions of requests that are not batched.
        batcher: Runs those that are; None batches none.
        check_method: ``--enable_signature_method_name_check``.
        metrics: Told of what is run and answered.
    """

    manager: ModelManager
    executor: Executor
    batcher: RequestBatcher | None = None
    check_method: bool = False
    metrics: Metrics = field(default_factory=Metrics)

    async def in_time(self, begin: Callable[[], Awaitable[T]], timeout: float | None) -> T:
        """Waits for what ``begin`` gives; when time is up it is not begun, or cancelled.

        Args:
            begin: Begins what is waited for.
            timeout: Seconds that are left, or None.

        Raises:
            RequestError: DEADLINE_EXCEEDED.
        """
        if timeout is not None and timeout <= 0:
            raise _too_late()
        try:
            async with asyncio.timeout(timeout):
                return await begin()
        except TimeoutError as error:
            raise _too_late() from error


@dataclass(frozen=True)
class ServedModel:
    """A version as a request sees it: it runs in a batch, or in a thread.

    To be cancelled takes a run that has not begun out of its queue.

    Args:
        core: What runs it.
        model: The version.
        deadline: When time is up, in ``time.monotonic``'s seconds: a session that runs for one
            request is broken off then. A batch is not, since it runs for others, too.
        name: The model's name.
        api: The method, under which runs are timed; "" times none.
    """

    core: ServerCore
    model: LoadedModel
    deadline: float | None
    name: str
    api: str

    @property
    def signatures(self) -> Mapping[str, Any]:
        """Signature key -> ``SignatureDef``."""
        return self.model.signatures

    async def run(
        self, signature_key: str, arrays: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str], /
    ) -> dict[str, npt.NDArray[Any]]:
        """Runs a signature; see ``LoadedModel.run``."""
        begin = time.perf_counter()
        found = await self._run(signature_key, arrays, outputs)
        if self.api:
            self.core.metrics.time_run(self.name, self.api, time.perf_counter() - begin)
        return found

    async def _run(
        self, signature_key: str, arrays: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, npt.NDArray[Any]]:
        if self.core.batcher is not None:
            return await self.core.batcher.run(self.model, signature_key, arrays, outputs)
        return await asyncio.get_running_loop().run_in_executor(
            self.core.executor, self._run_in_time, signature_key, arrays, outputs
        )

    def _run_in_time(
        self, signature_key: str, arrays: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, npt.NDArray[Any]]:
        if self.deadline is None:
            return self.model.run(signature_key, arrays, outputs)
        if (left := self.deadline - time.monotonic()) <= 0:
            raise _too_late()
        return self.model.run(signature_key, arrays, outputs, left)


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
    key, deadline = spec.signature_name or SERVING_DEFAULT, _deadline(timeout)
    with core.manager.acquire(spec) as (version, model):
        size = sum(_claimed_size(tensor) for tensor in request.inputs.values())
        arrays, wanted = await beside(size, model.read, key, request.inputs, request.output_filter)
        served = ServedModel(core, model, deadline, spec.name, "Predict")
        left = None if deadline is None else deadline - time.monotonic()
        outputs = await core.in_time(lambda: served.run(key, arrays, wanted), left)
    response = predict_pb2.PredictResponse(model_spec=_resolved(spec, version))
    size = sum(array.size for array in outputs.values())
    await beside(size, _write_outputs, response, outputs)
    return response


async def classify(core: ServerCore, request: Any, timeout: float | None = None) -> Any:
    """PredictionService.Classify (``servables/tensorflow/classification_service.cc``).

    Args:
        core: What answers.
        request: A ``ClassificationRequest``.
        timeout: Seconds that are left, or None.

    Returns:
        A ``ClassificationResponse``.

    Raises:
        RequestError: for a bad request, a model that is not there, or DEADLINE_EXCEEDED.
    """
    spec = check_model_spec(request)
    method = examples.classify
    version, result = await _over_examples(core, spec, "Classify", method, request, timeout)
    return classification_pb2.ClassificationResponse(
        model_spec=_resolved(spec, version), result=result
    )


async def regress(core: ServerCore, request: Any, timeout: float | None = None) -> Any:
    """PredictionService.Regress (``servables/tensorflow/regression_service.cc``).

    Args:
        core: What answers.
        request: A ``RegressionRequest``.
        timeout: Seconds that are left, or None.

    Returns:
        A ``RegressionResponse``.

    Raises:
        RequestError: for a bad request, a model that is not there, or DEADLINE_EXCEEDED.
    """
    spec = check_model_spec(request)
    method = examples.regress
    version, result = await _over_examples(core, spec, "Regress", method, request, timeout)
    return regression_pb2.RegressionResponse(model_spec=_resolved(spec, version), result=result)


async def multi_inference(core: ServerCore, request: Any, timeout: float | None = None) -> Any:
    """PredictionService.MultiInference (``servables/tensorflow/multi_inference_helper.cc``).

    Args:
        core: What answers.
        request: A ``MultiInferenceRequest``; its first task finds the version for all.
        timeout: Seconds that are left, or None.

    Returns:
        A ``MultiInferenceResponse``.

    Raises:
        RequestError: for a bad request, a model that is not there, or DEADLINE_EXCEEDED.
    """
    specs = [task.model_spec for task in request.tasks]
    spec = specs[0] if specs else model_pb2.ModelSpec()
    method = examples.multi_inference
    # TF-Serving does not time its runs, but counts the examples.
    version, results = await _over_examples(core, spec, "", method, request, timeout)
    core.metrics.count_examples(spec.name, examples.num_examples(request.input))
    for result, asked in zip(results, specs, strict=True):
        result.model_spec.CopyFrom(_resolved(asked, version))
    return inference_pb2.MultiInferenceResponse(results=results)


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


async def _over_examples(
    core: ServerCore,
    spec: Any,
    api: str,
    method: Callable[..., Awaitable[T]],
    request: Any,
    timeout: float | None,
) -> tuple[int, T]:
    """The version that a method of ``examples`` ran on, and what it gave."""
    with core.manager.acquire(spec) as (version, model):
        served = ServedModel(core, model, _deadline(timeout), spec.name, api)
        return version, await core.in_time(
            lambda: method(served, request, check_method=core.check_method), timeout
        )


def _resolved(spec: Any, version: int) -> Any:
    """The model_spec of a response."""
    resolved = model_pb2.ModelSpec(
        name=spec.name, signature_name=spec.signature_name or SERVING_DEFAULT
    )
    resolved.version.value = version
    return resolved


def _claimed_size(tensor: Any) -> int:
    """How many elements a ``TensorProto`` says it has, which nobody has checked yet."""
    return math.prod(dim.size for dim in tensor.tensor_shape.dim)


def _write_outputs(response: Any, outputs: Mapping[str, npt.NDArray[Any]]) -> None:
    for name, array in outputs.items():
        fill_tensor(response.outputs[name], array)


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _too_late() -> RequestError:
    return RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
