"""Version policies, and each state of a version on its way, as GetModelStatus tells it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from requests_of import follows, predict
from small_models import PATIENCE, wait_for
from target import Model
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import file_system_storage_path_source_pb2 as source_pb2

SOURCE = "sources/storage_path/file_system_storage_path_source.cc"
POLICY = "core/availability_preserving_policy.cc"
MANAGER = "core/basic_manager.cc"
HARNESS = "core/loader_harness.cc"
WARMUP = "servables/tensorflow/saved_model_warmup.cc"
NO_RETRY = {"max_num_load_retries": "0"}
Policy = source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy
NOT_FOUND, DATA_LOSS, FAILED_PRECONDITION, UNIMPLEMENTED = 5, 15, 9, 12


def policy(**choice: Any) -> Any:
    made = Policy()
    for name, fields in choice.items():
        getattr(made, name).SetInParent()
        for field, value in fields.items():
            target = getattr(made, name)
            if isinstance(value, list):
                getattr(target, field).extend(value)
            else:
                setattr(target, field, value)
    return made


ALL = policy(all={})


@follows(SOURCE)
@pytest.mark.parametrize(
    ("choice", "served"),
    [
        ({}, [4]),
        ({"latest": {}}, [4]),
        ({"latest": {"num_versions": 2}}, [4, 3]),
        ({"latest": {"num_versions": 9}}, [4, 3, 1]),
        ({"all": {}}, [4, 3, 1]),
        ({"specific": {"versions": [1]}}, [1]),
        ({"specific": {"versions": [1, 3]}}, [3, 1]),
        ({"specific": {"versions": [2, 3]}}, [3]),
    ],
    ids=str,
)
def test_a_policy(model: Model, choice: dict[str, Any], served: list[int]) -> None:
    for number in (1, 3, 4):
        model.add(number)
    model.serve(policy(**choice))
    model.wait_for_states(dict.fromkeys(served, "AVAILABLE"))
    assert model.answering() == served[0]
    for number in (1, 3, 4):
        if number in served:
            assert model.answering(version=number) == number
        else:
            assert model.refusal(version=number) == (
                "NOT_FOUND",
                f"Servable not found for request: Specific({model.name}, {number})",
            )


@follows(SOURCE)
def test_a_policy_that_changes(model: Model) -> None:
    model.add(1)
    model.add(2)
    model.serve()
    model.wait_for_states({2: "AVAILABLE"})
    model.serve(ALL)
    model.wait_for_states({2: "AVAILABLE", 1: "AVAILABLE"})
    model.serve(policy(specific={"versions": [1]}))
    model.wait_for_states({2: "END", 1: "AVAILABLE"})
    assert model.answering() == 1


@follows(SOURCE)
def test_names_of_folders(model: Model) -> None:
    """A number is a version, with zeros in front, too; all else is passed over."""
    for name in ("007", "12"):
        model.add(name)
    for name in ("v13", ".14.tmp", "15.5", "1e3"):
        (model.target.local / model.name / name).mkdir()
    model.serve(ALL)
    model.wait_for_states({12: "AVAILABLE", 7: "AVAILABLE"})
    assert model.answering(version=7) == 7


@follows(SOURCE)
def test_a_version_that_is_taken_away(model: Model) -> None:
    """The one before it comes back: so is a rollback done."""
    model.add(1)
    newest = model.add(2)
    model.serve()
    assert model.answering() == 2
    shutil.rmtree(newest)
    model.wait_for_states({2: "END", 1: "AVAILABLE"})
    assert model.answering() == 1


@follows(MANAGER)
def test_start_loading_available(model: Model) -> None:
    """The highest version loads first; one at a time; and the call waits for it."""
    model.add(1)
    model.add(2, gate="gate")
    request = model.target.reload_request(model.config(ALL))
    reload = model.target.models.HandleReloadConfigRequest.future(request, timeout=PATIENCE)
    model.wait_for_states({2: "LOADING", 1: "START"})
    assert model.error(2) == (0, "")
    assert not reload.done()
    code, _ = model.refusal()
    assert code == "NOT_FOUND"
    model.open("gate")
    assert reload.result().status.error_code == 0
    assert model.answering(version=2) == 2
    model.wait_for_states({2: "AVAILABLE", 1: "AVAILABLE"})


@follows(MANAGER)
def test_unloading_end(model: Model) -> None:
    """A version that is used stays until it is not; nobody else gets it."""
    model.add(1)
    model.add(2)
    model.serve(ALL)
    model.wait_for_states({2: "AVAILABLE", 1: "AVAILABLE"})
    asked = model.waiting("gate", version=1)
    running = model.target.prediction.Predict.future(asked, timeout=PATIENCE)
    try:
        # One that is asked later is answered: the first has arrived.
        assert model.answering(version=1) == 1
        model.serve(policy(specific={"versions": [2]}))
        model.wait_for_states({2: "AVAILABLE", 1: "UNLOADING"})
        assert model.refusal(version=1) == (
            "NOT_FOUND",
            f"Servable not found for request: Specific({model.name}, 1)",
        )
        assert model.answering() == 2
        assert not running.done()
    finally:
        model.open("gate")
    assert running.result().model_spec.version.value == 1
    model.wait_for_states({2: "AVAILABLE", 1: "END"})
    assert model.error(1) == (0, "")


@follows(POLICY)
def test_the_old_version_answers_while_the_new_one_loads(model: Model) -> None:
    model.add(1)
    model.serve()
    model.add(2, gate="gate")
    model.wait_for_states({2: "LOADING", 1: "AVAILABLE"})
    assert model.answering() == 1
    model.open("gate")
    model.wait_for_states({2: "AVAILABLE", 1: "END"})
    assert model.answering() == 2


def without_graph(version: Path) -> None:
    (version / "saved_model.pb").unlink()


def torn_graph(version: Path) -> None:
    file = version / "saved_model.pb"
    file.write_bytes(b"\xff" + file.read_bytes()[:100])


def without_variables(version: Path) -> None:
    shutil.rmtree(version / "variables")


def torn_variables(version: Path) -> None:
    (file,) = (version / "variables").glob("variables.data-*")
    file.write_bytes(file.read_bytes()[:1000])


@follows(HARNESS, **NO_RETRY)
@pytest.mark.parametrize(
    ("spoil", "codes"),
    [
        (without_graph, {NOT_FOUND}),
        (torn_graph, {DATA_LOSS}),
        # Which of TensorFlow's errors comes first is not TF-Serving's to say.
        (without_variables, set(range(1, 17))),
        (torn_variables, set(range(1, 17))),
    ],
)
def test_a_version_that_cannot_be_loaded(
    model: Model, spoil: Callable[[Path], None], codes: set[int]
) -> None:
    """It ends with its error; the old version stays, until a better one comes."""
    model.add(1, "variables")
    model.serve()
    base = model.target.local / model.name
    hidden = model.add("hidden", "variables")
    spoil(hidden)
    hidden.rename(base / "2")
    model.wait_for_states({2: "END", 1: "AVAILABLE"})
    code, message = model.error(2)
    assert code in codes and message
    assert model.answering() == 1
    assert model.refusal(version=2)[0] == "NOT_FOUND"
    model.add(3, "variables")
    model.wait_for_states({3: "AVAILABLE", 2: "END", 1: "END"})
    assert model.answering() == 3


@follows(WARMUP, **NO_RETRY)
@pytest.mark.parametrize("wrong", ["signature", "log_type"])
def test_a_warm_up_that_fails(model: Model, wrong: str) -> None:
    log = prediction_log_pb2.PredictionLog()
    if wrong == "signature":
        log.predict_log.request.CopyFrom(predict(signature="s"))
        error = (FAILED_PRECONDITION, 'Serving signature key "s" not found.')
    else:
        log.session_run_log.SetInParent()
        error = (UNIMPLEMENTED, "Unsupported log_type for warmup: 5")
    model.add(1)
    model.serve()
    model.add(2, warmup=log)
    model.wait_for_states({2: "END", 1: "AVAILABLE"})
    assert model.error(2) == error
    assert model.answering() == 1


@follows(WARMUP)
def test_a_warm_up_for_another_name(model: Model) -> None:
    """The requests of a version's file are its own, whatever model they name; none may be, too."""
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(predict(name="other", version=9))
    model.add(1, warmup=log)
    model.add(2, warmup=prediction_log_pb2.PredictionLog())
    model.serve(ALL)
    model.wait_for_states({2: "AVAILABLE", 1: "AVAILABLE"})


@follows(MANAGER)
def test_two_models_do_not_mix(model: Model) -> None:
    """A version of one that ends leaves the other's requests alone."""
    model.add(1)
    model.serve()
    request = predict(inputs={"x": np.float32([4])})
    model.target.drop(model.name)
    model.wait_for_states({1: "END"})
    answer = wait_for(lambda: model.target.call("Predict", request), "an answer")
    assert list(answer.outputs["y"].float_val) == [8]
