"""Classify, Regress and MultiInference over tf.Example, on a real SavedModel.

Expected messages are those of TF-Serving's servables/tensorflow/{classifier,regressor,
multi_inference,util}.cc.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from example_model import CLASSIFY, REGRESS, save_example_model
from google.protobuf import text_format
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from serving.server import examples
from serving.server.request_checks import RequestError


class SessionModel:
    """The model in a Session of its own."""

    def __init__(self, folder: Path):
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            graph = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        self.signatures = graph.signature_def
        self.ran: list[str] = []

    async def run(
        self, signature_key: str, arrays: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        self.ran.append(signature_key)
        signature = self.signatures[signature_key]
        return self._session.run(
            {name: signature.outputs[name].name for name in outputs},
            {signature.inputs[name].name: array for name, array in arrays.items()},
        )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SessionModel:
    return SessionModel(save_example_model(tmp_path_factory.mktemp("examples") / "1"))


def example(x: float | None = None, name: str | None = None) -> tf.train.Example:
    made = tf.train.Example()
    if x is not None:
        made.features.feature["x"].float_list.value.append(x)
    if name is not None:
        made.features.feature["name"].bytes_list.value.append(name.encode())
    return made


def ask(method: str, request: Any, signature: str = "", *given: Any, context: Any = None) -> Any:
    """Fills in a request's examples, its model_spec too where it has one."""
    if method != "multi_inference":
        request.model_spec.name = "m"
        request.model_spec.signature_name = signature
    if context is None:
        request.input.example_list.examples.extend(given)
    else:
        request.input.example_list_with_context.examples.extend(given)
        request.input.example_list_with_context.context.CopyFrom(context)
    return request


def classification(signature: str, *given: Any, context: Any = None) -> Any:
    request = classification_pb2.ClassificationRequest()
    return ask("classify", request, signature, *given, context=context)


def regression(signature: str, *given: Any, context: Any = None) -> Any:
    request = regression_pb2.RegressionRequest()
    return ask("regress", request, signature, *given, context=context)


def multi(*tasks: tuple[str, str], given: Sequence[Any] = (), name: str = "m") -> Any:
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name = name
        task.model_spec.signature_name = signature
    return ask("multi_inference", request, "", *given)


def answer_of(model: Any, request: Any, **more: Any) -> Any:
    method = {
        classification_pb2.ClassificationRequest: examples.classify,
        regression_pb2.RegressionRequest: examples.regress,
        inference_pb2.MultiInferenceRequest: examples.multi_inference,
    }[type(request)]
    return asyncio.run(method(model, request, **more))


def classes_of(result: Any) -> list[list[tuple[str, float]]]:
    return [[(c.label, c.score) for c in row.classes] for row in result.classifications]


def values_of(result: Any) -> list[float]:
    return [row.value for row in result.regressions]


GIVEN = (example(2, "tea"), example(-0.5, "pot"))


def test_classes_and_scores(model: SessionModel) -> None:
    result = answer_of(model, classification("", *GIVEN))
    assert classes_of(result) == [[("tea+", 2), ("tea-", -2)], [("pot+", -0.5), ("pot-", 0.5)]]


def test_classes_alone_and_scores_alone(model: SessionModel) -> None:
    assert classes_of(answer_of(model, classification("classes", GIVEN[0]))) == [
        [("tea+", 0), ("tea-", 0)]
    ]
    assert classes_of(answer_of(model, classification("scores", GIVEN[0]))) == [[("", 2), ("", -2)]]


@pytest.mark.parametrize(("signature", "added"), [("half", 2), ("column", 3)])
def test_regressions(model: SessionModel, signature: str, added: float) -> None:
    result = answer_of(model, regression(signature, *GIVEN))
    assert values_of(result) == [1 + added, -0.25 + added]


def test_a_context_gives_what_an_example_does_not_say(model: SessionModel) -> None:
    context = example(8, "cup")
    given = (example(x=2), example(name="pot"), example())
    result = answer_of(model, classification("", *given, context=context))
    assert [row[0] for row in classes_of(result)] == [("cup+", 2), ("pot+", 8), ("cup+", 8)]


def test_examples_merge_with_their_context_as_protobuf_merges() -> None:
    request = regression("half", *GIVEN, example(), context=example(8, "cup"))
    merged = [tf.train.Example.FromString(s) for s in examples.serialized_examples(request.input)]
    assert merged == [*GIVEN, example(8, "cup")]


def test_several_signatures_over_the_same_examples(model: SessionModel) -> None:
    request = multi(("half", REGRESS), ("", CLASSIFY), ("column", REGRESS), given=GIVEN)
    half, label, column = answer_of(model, request)
    assert values_of(half.regression_result) == [3, 1.75]
    assert classes_of(label.classification_result)[0] == [("tea+", 2), ("tea-", -2)]
    assert values_of(column.regression_result) == [4, 2.75]


def case_id(value: Any) -> str:
    return value if isinstance(value, str) else type(value).__name__


def signature_text(model: SessionModel, key: str) -> str:
    return text_format.MessageToString(model.signatures[key])


BEFORE = [
    (classification("no"), "No signature was found with the name: no"),
    (regression("no"), "No signature was found with the name: no"),
    (regression(""), "Expected one output Tensor."),
    (classification("two"), "Expected one input Tensor."),
    (regression("two"), "Expected one input Tensor."),
    (classification("three"), "Expected one or two output Tensors, found 3"),
    (classification("renamed"), "No classification inputs found in SignatureDef: {renamed}"),
    (regression("renamed"), "No regression inputs found in SignatureDef: {renamed}"),
    (regression("other"), "No regression outputs found in SignatureDef: {other}"),
    (
        classification("other"),
        "Expected classification signature outputs to contain at least one of "
        '"classes" or "scores". Signature was: {other}',
    ),
    (classification(""), "Input is empty."),
    (regression("half"), "Input is empty."),
    (regression("half", context=example(1)), "Input is empty."),
    (multi(("half", REGRESS)), "Input is empty."),
    (regression("float", example(1)), "Expects arg[0] to be float but string is provided"),
    (multi(("half", REGRESS), name=""), "Found ModelSpec with an empty model name."),
    (multi(("half", REGRESS), ("half", REGRESS)), "Duplicate evaluation of signature: half"),
    (
        multi(("", CLASSIFY), ("serving_default", CLASSIFY)),
        "Duplicate evaluation of signature: serving_default",
    ),
    (multi(("no", REGRESS)), "Requested signature not found in model graph: no"),
    (multi(("half", CLASSIFY)), "Expected classification signature outputs to contain"),
    (multi(("", REGRESS)), "Expected one output Tensor."),
]


@pytest.mark.parametrize(("request_", "message"), BEFORE, ids=case_id)
def test_what_is_refused_before_it_runs(model: SessionModel, request_: Any, message: str) -> None:
    model.ran.clear()
    for key in ("renamed", "other"):
        message = message.replace(f"{{{key}}}", signature_text(model, key))
    with pytest.raises(RequestError) as caught:
        answer_of(model, request_)
    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert caught.value.message.startswith(message) and not model.ran


def test_other_methods_and_other_models(model: SessionModel) -> None:
    with pytest.raises(RequestError) as caught:
        answer_of(model, multi(("half", "tensorflow/serving/predict"), given=GIVEN))
    assert caught.value.code.name == "UNIMPLEMENTED"
    assert caught.value.message == ("Unsupported signature method_name: tensorflow/serving/predict")
    request = multi(("half", REGRESS), ("column", REGRESS), given=GIVEN)
    request.tasks[1].model_spec.name = "another"
    with pytest.raises(RequestError) as caught:
        answer_of(model, request)
    assert (caught.value.code.name, caught.value.message) == (
        "INVALID_ARGUMENT",
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    )


MATRIX = "Expected Tensor shape: [batch_size num_classes] but got [2]"
VECTOR = "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (classification("flat", *GIVEN), MATRIX),
        (classification("numbers", *GIVEN), "Expected classes Tensor of DT_STRING. Got: DT_INT64"),
        (classification("doubles", *GIVEN), "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        (classification("first", *GIVEN), "Expected classes output batch size of 2. Got: 1"),
        (
            classification("uneven", *GIVEN),
            "Tensors class and score should match in dim_size(1). Got 1 vs. 2",
        ),
        (regression("wide", *GIVEN), VECTOR),
        (regression("one", *GIVEN), "Input batch size did not match output batch size: 2 vs. 1"),
        (regression("double", *GIVEN), "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
        (multi(("half", REGRESS), ("wide", REGRESS), given=GIVEN), VECTOR),
        (multi(("flat", CLASSIFY), given=GIVEN), MATRIX),
    ],
    ids=case_id,
)
def test_outputs_that_are_no_result(model: SessionModel, request_: Any, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        answer_of(model, request_)
    assert (caught.value.code.name, caught.value.message) == ("INVALID_ARGUMENT", message)


def test_the_signatures_own_method_counts_only_where_it_is_checked(model: SessionModel) -> None:
    for request in (classification("classes", *GIVEN), regression("half", *GIVEN)):
        assert answer_of(model, request, check_method=True) == answer_of(model, request)
    for request, kind, method in (
        (classification("", *GIVEN), "classification", CLASSIFY),
        (regression("column", *GIVEN), "regression", REGRESS),
        (multi(("column", REGRESS), given=GIVEN), "regression", REGRESS),
    ):
        answer_of(model, request)
        with pytest.raises(RequestError) as caught:
            answer_of(model, request, check_method=True)
        assert (caught.value.code.name, caught.value.message) == (
            "INVALID_ARGUMENT",
            f"Expected {kind} signature method_name to be {method}. "
            "Was: tensorflow/serving/predict",
        )
