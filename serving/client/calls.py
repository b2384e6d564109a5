"""Single requests, as both clients send them: the method, the message, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy.typing as npt
from google.protobuf import text_format

from serving import wire
from serving.client import answers
from serving.client.models import ModelSpec, model_spec
from serving.tensors import fill_tensor

T = TypeVar("T")

Feature = Sequence[str] | Sequence[bytes] | Sequence[int] | Sequence[float]
Example = Mapping[str, Feature]
"""Feature name -> its values, all of one kind: texts, whole numbers, or numbers."""

_PREDICTION: Final = "/tensorflow.serving.PredictionService/"
_MODEL: Final = "/tensorflow.serving.ModelService/"


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request.

    Args:
        method: The full name of the gRPC method.
        request: The message.
        response_type: The class of the answer.
        read: What makes the result of it; raises ValueError if it cannot.
        repeatable: Whether it may be sent again.
    """

    method: str
    request: Any
    response_type: Any
    read: Callable[[Any], T]
    repeatable: bool = True


def predict(
    model: str | ModelSpec,
    inputs: Mapping[str, npt.ArrayLike],
    signature: str,
    read: Callable[[Any], T],
) -> Call[T]:
    """PredictionService.Predict.

    Raises:
        ValueError: for an input that is no tensor.
    """
    request = wire.PredictRequest()
    model_spec(model).write_to(request.model_spec, signature)
    for name, value in inputs.items():
        try:
            fill_tensor(request.inputs[name], value)
        except ValueError as error:
            raise ValueError(f"input {name}: {error}") from error
    return Call(f"{_PREDICTION}Predict", request, wire.PredictResponse, read)


def classify(
    model: str | ModelSpec, examples: Sequence[Example], signature: str, context: Example | None
) -> Call[list[answers.Recommendations]]:
    """PredictionService.Classify.

    Raises:
        ValueError: for values that no feature holds.
    """
    request = wire.ClassificationRequest()
    _write_examples(request, model, examples, signature, context)
    response = wire.ClassificationResponse
    return Call(f"{_PREDICTION}Classify", request, response, answers.classifications)


def regress(
    model: str | ModelSpec, examples: Sequence[Example], signature: str, context: Example | None
) -> Call[list[float]]:
    """PredictionService.Regress.

    Raises:
        ValueError: for values that no feature holds.
    """
    request = wire.RegressionRequest()
    _write_examples(request, model, examples, signature, context)
    return Call(f"{_PREDICTION}Regress", request, wire.RegressionResponse, answers.regressions)


def metadata(model: str | ModelSpec) -> Call[dict[str, Any]]:
    """PredictionService.GetModelMetadata."""
    request = wire.GetModelMetadataRequest(metadata_field=["signature_def"])
    model_spec(model).write_to(request.model_spec)
    response = wire.GetModelMetadataResponse
    return Call(f"{_PREDICTION}GetModelMetadata", request, response, answers.signatures)


def status(model: str | ModelSpec) -> Call[list[answers.VersionStatus]]:
    """ModelService.GetModelStatus."""
    request = wire.GetModelStatusRequest()
    model_spec(model).write_to(request.model_spec)
    response = wire.GetModelStatusResponse
    return Call(f"{_MODEL}GetModelStatus", request, response, answers.version_states)


def reload_config(config: str) -> Call[None]:
    """ModelService.HandleReloadConfigRequest, which is sent once.

    A second time, it could undo what somebody else has configured meanwhile.

    Raises:
        ValueError: if the text is no ModelServerConfig.
    """
    request = wire.ReloadConfigRequest()
    try:
        text_format.Parse(config, request.config)
    except text_format.ParseError as error:
        raise ValueError(f"not a ModelServerConfig in text format: {error}") from error
    method, response = f"{_MODEL}HandleReloadConfigRequest", wire.ReloadConfigResponse
    return Call(method, request, response, answers.reloaded, repeatable=False)


def health(service: str) -> Call[str]:
    """grpc.health.v1.Health.Check."""
    request = wire.HealthCheckRequest(service=service)
    response = wire.HealthCheckResponse
    return Call("/grpc.health.v1.Health/Check", request, response, answers.serving_status)


def _write_examples(
    request: Any,
    model: str | ModelSpec,
    examples: Sequence[Example],
    signature: str,
    context: Example | None,
) -> None:
    model_spec(model).write_to(request.model_spec, signature)
    if context is None:
        place = request.input.example_list
    else:
        place = request.input.example_list_with_context
        _write_example(place.context, context)
    place.SetInParent()
    for example in examples:
        _write_example(place.examples.add(), example)


def _write_example(proto: Any, example: Example) -> None:
    for name, values in example.items():
        feature, kinds = proto.features.feature[name], {type(value) for value in values}
        if isinstance(values, str | bytes):
            raise ValueError(f"feature {name} is one text, not a list of them")
        if not kinds:
            # To TensorFlow's parser a feature without a kind is a missing one.
            continue
        if kinds <= {str, bytes}:
            texts = [value.encode() if isinstance(value, str) else value for value in values]
            feature.bytes_list.value.extend(texts)
        elif kinds <= {int}:
            feature.int64_list.value.extend(values)
        elif kinds <= {int, float}:
            feature.float_list.value.extend(values)
        else:
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(f"feature {name} holds {names}: no tf.train.Feature holds them")
