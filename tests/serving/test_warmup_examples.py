"""Warm-up requests of Classify, Regress and MultiInference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from example_model import CLASSIFY, REGRESS, save_example_model
from tensorflow_serving.apis import prediction_log_pb2
from test_examples import GIVEN, classification, multi, regression

from serving.server.loaded_model import LoadedModel
from serving.server.request_checks import RequestError

Log = prediction_log_pb2.PredictionLog


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return save_example_model(tmp_path / "1")


def write(version: Path, *logs: Any) -> None:
    (version / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(version / "assets.extra/tf_serving_warmup_requests")) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def test_each_kind_is_run(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``servables/tensorflow/saved_model_warmup.cc``."""
    ran: list[tuple[str, int]] = []
    run = LoadedModel.run

    def note(self: LoadedModel, key: str, arrays: Any, outputs: Any) -> Any:
        ran.append((key, len(arrays["inputs"])))
        return run(self, key, arrays, outputs)

    monkeypatch.setattr(LoadedModel, "run", note)
    both = multi(("column", REGRESS), ("scores", CLASSIFY), given=GIVEN[:1])
    write(
        version,
        Log(classify_log={"request": classification("", *GIVEN)}),
        Log(regress_log={"request": regression("half", *GIVEN)}),
        Log(multi_inference_log={"request": both}),
    )
    LoadedModel(version).close()
    assert ran == [("serving_default", 2), ("half", 2), ("column", 1), ("scores", 1)]


def test_one_that_fails_fails_the_load(version: Path) -> None:
    """As a Predict does; the answer, too, must be a regression."""
    write(version, Log(regress_log={"request": regression("one", *GIVEN)}))
    with pytest.raises(RequestError, match="Input batch size did not match output batch size"):
        LoadedModel(version)


def test_a_session_run_is_no_warmup(version: Path) -> None:
    """``saved_model_warmup.cc`` names the field's number."""
    write(version, Log(session_run_log={}))
    with pytest.raises(RequestError, match="^UNIMPLEMENTED: Unsupported log_type for warmup: 5$"):
        LoadedModel(version)
