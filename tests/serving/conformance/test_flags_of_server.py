"""What a server answers that batches, or tells of its health: each needs its flag."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from requests_of import BAD, EXAMPLES, Case, classify, each, follows, predict, regress, spec
from small_models import PATIENCE, failure
from target import Target

BATCHING = {
    "enable_batching": "true",
    "batching_parameters_file": "batching_parameters.txt",
}
SESSION = "batching/batching_session.cc"
SIZES = "batching/batching_util.h"
QUEUE = "tensorflow/core/kernels/batching_util/shared_batch_scheduler.h"
SERVER = "model_servers/server.cc"
HEALTH = {"enable_grpc_healthcheck_service": "true"}
ONES = np.ones


def case(source: str, name: str, request: Any, message: str) -> Case:
    return Case(source, name, "Predict", request, BAD, message, BATCHING)


CASES = [
    case(
        SIZES,
        "a scalar",
        predict(signature="scale", inputs={"x": ONES(1, "f"), "k": np.float32(1)}),
        "Batching Run() input tensors must have at least one dimension",
    ),
    case(
        SIZES,
        "unequal sizes",
        predict(signature="combine", inputs={"a": ONES(1, "i"), "b": ONES(2, "f")}),
        "Batching Run() input tensors must have equal 0th-dimension size",
    ),
    case(
        QUEUE,
        "more rows than a batch holds",
        predict(inputs={"x": ONES(5, "f")}),
        "Task size 5 is larger than maximum input batch size 4",
    ),
]


@each(CASES)
def test_what_cannot_be_batched(target: Target, case: Case) -> None:
    assert target.failure(case.method, case.request) == (case.code, case.message)


@follows(SESSION, **BATCHING)
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_rows_of_several_requests(target: Target, rows: int) -> None:
    """Each gets its own rows back, without those of others and without padding."""
    given = [np.arange(rows, dtype="f") + 10 * number for number in range(12)]
    answers = [
        target.prediction.Predict.future(predict(inputs={"x": x}), timeout=PATIENCE) for x in given
    ]
    for x, answer in zip(given, answers, strict=True):
        assert list(answer.result().outputs["y"].float_val) == list(2 * x)


@follows(SESSION, **BATCHING)
def test_errors_before_a_batch(target: Target) -> None:
    """Spec, signature and inputs are looked at first."""
    assert target.failure("Predict", predict(name="")) == (BAD, "ModelSpec has no name specified.")
    assert target.failure("Predict", predict(signature="s"))[0] == "FAILED_PRECONDITION"
    assert target.failure("Predict", predict(output_filter=["z"]))[0] == BAD


@follows(SESSION, **BATCHING, enable_signature_method_name_check="true")
def test_examples_are_batched(target: Target) -> None:
    """With names of methods looked at, these two have theirs."""
    response = target.call("Classify", classify("classes"))
    found = [each.classes[0].label for each in response.result.classifications]
    assert found == ["tea+", "pot+"]
    response = target.call("Regress", regress())
    assert [each.value for each in response.result.regressions] == [3, 1.75]
    assert response.model_spec == spec(EXAMPLES, "half", 3)


@follows(SERVER, **HEALTH)
@pytest.mark.parametrize("name", [b"", b"\x0a\x0cModelService", b"\x0a\x11PredictionService"])
def test_health(target: Target, name: bytes) -> None:
    """As bytes: field 1 is the service's name, and the status, an enum, of the answer."""
    call = target.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert call(name, timeout=PATIENCE) == b"\x08\x01"


@follows(SERVER, **HEALTH)
def test_health_of_an_unknown_service(target: Target) -> None:
    call = target.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert failure(lambda: call(b"\x0a\x01x", timeout=PATIENCE))[0] == "NOT_FOUND"
