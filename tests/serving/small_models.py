"""Small models for tests of the server: quick to copy, and one that runs until it is let go."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server import ModelServer
from serving.server.loaded_model import LoadedModel
from serving.tensor_protos import typed_proto

PATIENCE = 60.0
"""Seconds until a condition that never comes true fails a test; a busy machine is slow."""

STATES = get_model_status_pb2.ModelVersionStatus


def save_doubler(folder: Path) -> Path:
    """A SavedModel: ``serving_default`` doubles; ``wait`` does so once a file is there."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def double(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 2 * x}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="x"),
            tf.TensorSpec([], tf.string, name="file"),
        ]
    )
    def wait(x: tf.Tensor, file: tf.Tensor) -> dict[str, tf.Tensor]:
        def is_there(step: tf.Tensor) -> tf.Tensor:
            # Else the look at the folder does not depend on the loop, and could leave it.
            nothing = tf.strings.substr(tf.as_string(step), 0, 0)
            return tf.size(tf.io.matching_files(file + nothing)) == 0

        step = tf.while_loop(is_there, lambda i: [i + 1], [tf.constant(0)], parallel_iterations=1)
        return {"y": 2 * x + 0 * tf.cast(step[0], tf.float32)}

    tf.saved_model.save(
        tf.Module(), str(folder), signatures={"serving_default": double, "wait": wait}
    )
    return folder


def add_version(base: Path, number: int, template: Path) -> Path:
    """Copies a model to a version, which appears whole."""
    base.mkdir(parents=True, exist_ok=True)
    fresh = base / f".{number}.tmp"
    shutil.copytree(template, fresh)
    os.rename(fresh, base / str(number))
    return base / str(number)


def config_text(*models: tuple[str, Path], extra: str = "") -> str:
    """A ``ModelServerConfig``; ``extra`` goes into each model."""
    entries = (
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {extra} }}'
        for name, base in models
    )
    return f"model_config_list {{ {' '.join(entries)} }}"


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """What the condition gives, as soon as that is true."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.01)
    return found


class Caller:
    """Questions to a server over a plain channel."""

    def __init__(self, channel: grpc.Channel, server: ModelServer | None):
        self.server = server
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)

    def request(
        self,
        name: str = "m",
        version: int | None = None,
        label: str = "",
        file: Path | None = None,
        x: float = 3.0,
    ) -> Any:
        """A PredictRequest; with ``file`` one that runs until that is there."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        if version is not None:
            request.model_spec.version.value = version
        if label:
            request.model_spec.version_label = label
        request.inputs["x"].CopyFrom(typed_proto(np.array([x], np.float32)))
        if file is not None:
            request.model_spec.signature_name = "wait"
            request.inputs["file"].CopyFrom(typed_proto(str(file)))
        return request

    def answering(self, name: str = "m", **spec: Any) -> int:
        """The version that answers, after a look at its answer."""
        response = self.prediction.Predict(self.request(name, **spec), timeout=PATIENCE)
        assert list(response.outputs["y"].float_val) == [6.0]
        return int(response.model_spec.version.value)

    def states(self, name: str = "m") -> dict[int, str]:
        """Version -> state; none for a model that the server has never seen."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        try:
            response = self.models.GetModelStatus(request, timeout=PATIENCE)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
            return {}
        return {
            status.version: STATES.State.Name(status.state)
            for status in response.model_version_status
        }

    def error(self, version: int, name: str = "m") -> tuple[int, str]:
        """The code and the message of a version's status."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        request.model_spec.version.value = version
        (status,) = self.models.GetModelStatus(request, timeout=PATIENCE).model_version_status
        return status.status.error_code, status.status.error_message

    def wait_for_states(self, expected: dict[int, str], name: str = "m") -> None:
        """Waits until the versions have exactly these states."""
        wait_for(lambda: self.states(name) == expected, f"{name} {expected}")


class Gate:
    """Holds requests in their threads, and tells which ran: ``LoadedModel._run`` goes through it.

    Not an op that waits: that would take TensorFlow's one thread, and no version could load.
    """

    HELD = 1.0
    """The ``x`` of requests that are held."""

    def __init__(self, run: Callable[..., Any]):
        self.seen: list[float] = []
        self._run = run
        self._opened = threading.Event()

    def run(self, model: LoadedModel, fetches: Any, feeds: Any, timeout: float | None) -> Any:
        """In the place of ``LoadedModel._run``."""
        (x,) = feeds.values()
        self.seen.append(float(x[0]))
        if self.seen[-1] == self.HELD:
            assert self._opened.wait(2 * PATIENCE)
        return self._run(model, fetches, feeds, timeout)

    @property
    def is_open(self) -> bool:
        """Whether they were let go."""
        return self._opened.is_set()

    def hold(self, caller: Caller, timeout: float = PATIENCE) -> Any:
        """The future of a request that has begun to run, and does until the gate opens."""
        request = caller.request(x=self.HELD)
        running = caller.prediction.Predict.future(request, timeout=timeout)
        wait_for(lambda: self.HELD in self.seen, "the request that is held")
        return running

    def open(self) -> None:
        """Lets them go."""
        self._opened.set()


def failure(call: Callable[[], Any]) -> tuple[str, str]:
    """The code's name and the message of a call that fails."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError("it did not fail")
