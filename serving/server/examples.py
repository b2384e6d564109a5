"""Classify, Regress and MultiInference: signatures over serialised ``tf.Example``s.

Follows TF-Serving's ``servables/tensorflow/{classifier,regressor,multi_inference,util}.cc``
in its checks, their order, codes and messages. One difference: the tasks of a
MultiInference run one after the other, where TF-Serving runs their tensors together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import grpc
import numpy as np
import numpy.typing as npt
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from serving.saved_models import SERVING_DEFAULT
from serving.server.example_results import (
    CLASSES,
    OUTPUTS,
    SCORES,
    Arrays,
    classification_result,
    regression_result,
)
from serving.server.request_checks import RequestError, check_types, invalid_argument

CLASSIFY_METHOD: Final = "tensorflow/serving/classify"
REGRESS_METHOD: Final = "tensorflow/serving/regress"
INPUTS: Final = "inputs"


class AsyncModel(Protocol):
    """A version of a model that runs in the background, batched or not."""

    @property
    def signatures(self) -> Mapping[str, Any]:
        """Signature key -> ``SignatureDef``."""

    async def run(
        self, signature_key: str, arrays: Arrays, outputs: Sequence[str], /
    ) -> dict[str, npt.NDArray[Any]]:
        """Runs a signature: output name -> array."""


class _Task(NamedTuple):
    method: str
    key: str
    outputs: list[str]


async def classify(
    model: AsyncModel, request: Any, *, check_method: bool = False
) -> classification_pb2.ClassificationResult:
    """The result of PredictionService.Classify: labels and scores of each example.

    Args:
        model: The version that answers.
        request: A ``ClassificationRequest``; its signature takes ``inputs``, serialised
            examples (n,), and gives ``classes`` (n, c), ``scores`` (n, c) or both.
        check_method: ``--enable_signature_method_name_check``: whether the signature's
            method must be TF-Serving's own, which TensorFlow 2 writes nowhere.

    Raises:
        RequestError: as TF-Serving answers.
    """
    key = request.model_spec.signature_name or SERVING_DEFAULT
    outputs = _classification_outputs(_find(model, key), check_method)
    examples = serialized_examples(request.input)
    return classification_result(await _run(model, key, examples, outputs), len(examples))


async def regress(
    model: AsyncModel, request: Any, *, check_method: bool = False
) -> regression_pb2.RegressionResult:
    """The result of PredictionService.Regress: a number for each example.

    Args:
        model: The version that answers.
        request: A ``RegressionRequest``; its signature takes ``inputs``, serialised
            examples (n,), and gives ``outputs`` (n,) or (n, 1).
        check_method: As in ``classify``.

    Raises:
        RequestError: as TF-Serving answers.
    """
    key = request.model_spec.signature_name or SERVING_DEFAULT
    outputs = _regression_outputs(_find(model, key), check_method)
    examples = serialized_examples(request.input)
    return regression_result(await _run(model, key, examples, outputs), len(examples))


async def multi_inference(
    model: AsyncModel, request: Any, *, check_method: bool = False
) -> list[inference_pb2.InferenceResult]:
    """The results of PredictionService.MultiInference, in the order of the tasks.

    Args:
        model: The version that answers; it is the first task's model_spec that finds it.
        request: A ``MultiInferenceRequest``: signatures of one model over the same examples.
        check_method: As in ``classify``.

    Returns:
        A result for each task, without its model_spec.

    Raises:
        RequestError: as TF-Serving answers.
    """
    tasks = _check_tasks(model, request.tasks, check_method)
    examples = serialized_examples(request.input)
    answers = [await _run(model, task.key, examples, task.outputs) for task in tasks]
    return [
        inference_pb2.InferenceResult(
            classification_result=classification_result(arrays, len(examples))
        )
        if task.method == CLASSIFY_METHOD
        else inference_pb2.InferenceResult(
            regression_result=regression_result(arrays, len(examples))
        )
        for task, arrays in zip(tasks, answers, strict=True)
    ]


def num_examples(request_input: Any) -> int:
    """How many examples an ``Input`` holds."""
    kind = request_input.WhichOneof("kind")
    return len(getattr(request_input, kind).examples) if kind else 0


def serialized_examples(request_input: Any) -> npt.NDArray[np.object_]:
    """The examples of an ``Input``, serialised: (n,).

    A context stands in front of each example: parsed together, they merge, and what the
    example says wins.

    Raises:
        RequestError: INVALID_ARGUMENT, if there is no example.
    """
    kind = request_input.WhichOneof("kind")
    examples = getattr(request_input, kind).examples if kind else ()
    if not examples:
        raise invalid_argument("Input is empty.")
    context = request_input.example_list_with_context.context.SerializeToString()
    serialized = np.empty(len(examples), object)
    serialized[:] = [context + example.SerializeToString() for example in examples]
    return serialized


def _find(model: AsyncModel, key: str) -> Any:
    if key not in model.signatures:
        raise invalid_argument(f"No signature was found with the name: {key}")
    return model.signatures[key]


def _check_tasks(model: AsyncModel, tasks: Sequence[Any], check_method: bool) -> list[_Task]:
    checked: dict[str, _Task] = {}
    for task in tasks:
        spec = task.model_spec
        if not spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if spec.name != tasks[0].model_spec.name:
            raise invalid_argument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        key = spec.signature_name or SERVING_DEFAULT
        if key in checked:
            raise invalid_argument(f"Duplicate evaluation of signature: {key}")
        if key not in model.signatures:
            raise invalid_argument(f"Requested signature not found in model graph: {key}")
        outputs = _task_outputs(task.method_name, model.signatures[key], check_method)
        checked[key] = _Task(task.method_name, key, outputs)
    return list(checked.values())


def _task_outputs(method: str, signature: Any, check_method: bool) -> list[str]:
    if method == CLASSIFY_METHOD:
        return _classification_outputs(signature, check_method)
    if method == REGRESS_METHOD:
        return _regression_outputs(signature, check_method)
    raise RequestError(
        grpc.StatusCode.UNIMPLEMENTED, f"Unsupported signature method_name: {method}"
    )


def _classification_outputs(signature: Any, check_method: bool) -> list[str]:
    if check_method:
        _check_method("classification", CLASSIFY_METHOD, signature)
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(
            f"Expected one or two output Tensors, found {len(signature.outputs)}"
        )
    if INPUTS not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {signature}")
    outputs = [name for name in (CLASSES, SCORES) if name in signature.outputs]
    if not outputs:
        raise invalid_argument(
            "Expected classification signature outputs to contain at least one of "
            f'"{CLASSES}" or "{SCORES}". Signature was: {signature}'
        )
    return outputs


def _regression_outputs(signature: Any, check_method: bool) -> list[str]:
    if check_method:
        _check_method("regression", REGRESS_METHOD, signature)
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    for kind, name, tensors in (
        ("inputs", INPUTS, signature.inputs),
        ("outputs", OUTPUTS, signature.outputs),
    ):
        if name not in tensors:
            raise invalid_argument(f"No regression {kind} found in SignatureDef: {signature}")
    return [OUTPUTS]


def _check_method(kind: str, method: str, signature: Any) -> None:
    if signature.method_name != method:
        raise invalid_argument(
            f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}"
        )


async def _run(
    model: AsyncModel, key: str, examples: npt.NDArray[np.object_], outputs: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    arrays = {INPUTS: examples}
    check_types(arrays, model.signatures[key].inputs)
    return await model.run(key, arrays, outputs)
