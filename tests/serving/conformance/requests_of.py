"""Requests in TF-Serving's own messages, and what is expected of each."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

RUN = f"_{uuid.uuid4().hex[:8]}" if os.environ.get("TF_SERVING_TARGET") else ""
"""In the names of models: TF-Serving remembers versions that have gone, of earlier runs, too."""

PLAIN = f"plain{RUN}"
TYPES = f"types{RUN}"
EXAMPLES = f"examples{RUN}"

BAD = "INVALID_ARGUMENT"


@dataclass(frozen=True)
class Case:
    """A request and how it fails.

    Args:
        source: The file of TF-Serving that it follows, below ``tensorflow_serving/``; of
            TensorFlow, if it begins with ``tensorflow/``.
        name: What is wrong.
        method: PredictionService's or ModelService's.
        request: The message.
        code: The gRPC code's name.
        message: Its words, or a pattern that they begin with; None if they are gRPC's own.
        needs: Flags that the server must have.
    """

    source: str
    name: str
    method: str
    request: Message
    code: str
    message: str | re.Pattern[str] | None
    needs: Mapping[str, str] = field(default_factory=dict)

    def matches(self, message: str) -> bool:
        """Whether these are the words."""
        if isinstance(self.message, re.Pattern):
            return self.message.match(message) is not None
        return self.message is None or self.message == message


def spec(
    name: str = PLAIN, signature: str = "", version: int | None = None, label: str = ""
) -> model_pb2.ModelSpec:
    """A ModelSpec."""
    made = model_pb2.ModelSpec(name=name, signature_name=signature)
    if version is not None:
        made.version.value = version
    if label:
        made.version_label = label
    return made


def predict(*, output_filter: Sequence[str] = (), inputs: Any = None, **fields: Any) -> Any:
    """A PredictRequest; unless told otherwise one that doubles 3."""
    request = predict_pb2.PredictRequest(model_spec=spec(**fields), output_filter=output_filter)
    for name, value in ({"x": np.float32([3])} if inputs is None else inputs).items():
        is_proto = isinstance(value, tf.make_tensor_proto(0).__class__)
        request.inputs[name].CopyFrom(value if is_proto else tf.make_tensor_proto(value))
    return request


def example(x: float, name: str = "") -> tf.train.Example:
    """What the model of examples takes."""
    made = tf.train.Example()
    made.features.feature["x"].float_list.value.append(x)
    if name:
        made.features.feature["name"].bytes_list.value.append(name.encode())
    return made


GIVEN = (example(2, "tea"), example(-0.5, "pot"))


def examples_input(examples: Sequence[tf.train.Example], context: Any = None) -> input_pb2.Input:
    """The examples, with a context or without."""
    made = input_pb2.Input()
    if context is None:
        made.example_list.examples.extend(examples)
    else:
        made.example_list_with_context.examples.extend(examples)
        made.example_list_with_context.context.CopyFrom(context)
    return made


def classify(
    signature: str = "", examples: Sequence[Any] = GIVEN, context: Any = None, **fields: Any
) -> Any:
    """A ClassificationRequest."""
    return classification_pb2.ClassificationRequest(
        model_spec=spec(**{"name": EXAMPLES, "signature": signature, **fields}),
        input=examples_input(examples, context),
    )


def regress(
    signature: str = "half", examples: Sequence[Any] = GIVEN, context: Any = None, **fields: Any
) -> Any:
    """A RegressionRequest."""
    return regression_pb2.RegressionRequest(
        model_spec=spec(**{"name": EXAMPLES, "signature": signature, **fields}),
        input=examples_input(examples, context),
    )


CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


def multi(
    *tasks: tuple[str, str], examples: Sequence[Any] = GIVEN, specs: Sequence[Any] = ()
) -> Any:
    """A MultiInferenceRequest of (signature, method), or of specs and their methods."""
    request = inference_pb2.MultiInferenceRequest(input=examples_input(examples))
    given = specs or [spec(EXAMPLES, signature) for signature, _ in tasks]
    for each, (_, method) in zip(given, tasks, strict=True):
        request.tasks.add(model_spec=each, method_name=method)
    return request


def metadata(*fields: str, **given: Any) -> Any:
    """A GetModelMetadataRequest."""
    return get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec(**given), metadata_field=fields
    )


def status(**given: Any) -> Any:
    """A GetModelStatusRequest."""
    return get_model_status_pb2.GetModelStatusRequest(model_spec=spec(**given))


def follows(source: str, **needs: str) -> Any:
    """Marks a test: the file of TF-Serving that it follows, and the flags that it needs."""
    return pytest.mark.parametrize("target", [(source, needs)], ids=[source], indirect=True)


def each(cases: Sequence[Case]) -> Any:
    """Runs a test once for each case, with the server that the case needs."""
    return pytest.mark.parametrize(
        ("target", "case"),
        [((case.source, case.needs), case) for case in cases],
        ids=[f"{case.source}: {case.name}" for case in cases],
        indirect=["target"],
    )
