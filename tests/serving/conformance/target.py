"""The server in question, ours or the TF-Serving at ``TF_SERVING_TARGET``, and models on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from requests_of import RUN, predict, spec
from served_models import write_warmup
from small_models import PATIENCE, STATES, failure, wait_for
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

METHODS = ("GetModelStatus", "HandleReloadConfigRequest")
"""ModelService's; the others are PredictionService's."""


class Target:
    """A server, told what to serve by HandleReloadConfigRequest alone.

    Args:
        address: ``HOST:PORT``.
        local: Where the suite writes models.
        remote: The same folder, as the server names it.
    """

    def __init__(self, address: str, local: Path, remote: str):
        self.local, self.remote = local, remote
        self.channel = grpc.insecure_channel(address)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.configs: dict[str, Any] = {}
        self._names = 0

    def call(self, method: str, request: Any, timeout: float = PATIENCE) -> Any:
        """The response of a method of either service."""
        stub = self.models if method in METHODS else self.prediction
        return getattr(stub, method)(request, timeout=timeout)

    def failure(self, method: str, request: Any) -> tuple[str, str]:
        """The code and the message of a call that fails."""
        return failure(lambda: self.call(method, request))

    def config(self, name: str, folder: str = "", **fields: Any) -> Any:
        """A ModelConfig of a model in ``folder``, which is the model's name unless given."""
        return model_server_config_pb2.ModelConfig(
            name=name,
            **{
                "base_path": f"{self.remote}/{folder or name}",
                "model_platform": "tensorflow",
                **fields,
            },
        )

    def reload_request(self, *more: Any, instead: bool = False) -> Any:
        """Asks for all that is served, and for more; or for that instead."""
        request = model_management_pb2.ReloadConfigRequest()
        models = {} if instead else {c.name: c for c in self.configs.values()}
        listed = [c for name, c in models.items() if name not in {m.name for m in more}]
        request.config.model_config_list.config.extend([*listed, *more])
        return request

    def reload(self, *more: Any) -> Any:
        """Serves more, or some otherwise."""
        response = self.models.HandleReloadConfigRequest(
            self.reload_request(*more), timeout=PATIENCE
        )
        self.configs.update({config.name: config for config in more})
        return response

    def drop(self, name: str) -> None:
        """Serves a model no longer."""
        self.configs.pop(name, None)
        self.reload()

    def states(self, name: str) -> dict[int, str]:
        """Version -> state; none for a model that the server has never seen."""
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec(name))
        try:
            response = self.models.GetModelStatus(request, timeout=PATIENCE)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
            return {}
        return {s.version: STATES.State.Name(s.state) for s in response.model_version_status}

    def fresh_name(self) -> str:
        """A model's name that nobody has used."""
        self._names += 1
        return f"model{self._names}{RUN}"

    def close(self) -> None:
        """Leaves a server that is not ours without models, and nothing in its folder."""
        if RUN:
            self.configs.clear()
            self.models.HandleReloadConfigRequest(self.reload_request(), timeout=PATIENCE)
        self.channel.close()
        shutil.rmtree(self.local, ignore_errors=True)


class Model:
    """A model of one test: its versions, its config and what it answers.

    Args:
        target: The server.
        templates: Name -> SavedModel, to be copied to versions.
    """

    def __init__(self, target: Target, templates: Mapping[str, Path]):
        self.target = target
        self.name = target.fresh_name()
        self._templates = templates
        (target.local / self.name).mkdir()

    def add(
        self, number: int | str, template: str = "plain", gate: str = "", warmup: Any = None
    ) -> Path:
        """Writes a version, which appears whole; with a gate it loads when that is open."""
        base = self.target.local / self.name
        fresh = base / f".{number}.tmp"
        shutil.copytree(self._templates[template], fresh)
        if gate:
            warmup = prediction_log_pb2.PredictionLog()
            warmup.predict_log.request.CopyFrom(self.waiting(gate))
        if warmup is not None:
            write_warmup(fresh, warmup)
        return fresh.rename(base / str(number))

    def waiting(self, gate: str, **fields: Any) -> Any:
        """A PredictRequest that runs until the gate is open."""
        file = f"{self.target.remote}/{self.name}.{gate}"
        inputs = {"x": np.float32([3]), "file": [file]}
        return predict(name=self.name, signature="wait", inputs=inputs, **fields)

    def open(self, gate: str) -> None:
        """Lets what waits go on."""
        (self.target.local / f"{self.name}.{gate}").touch()

    def serve(self, policy: Any = None, labels: Mapping[str, int] | None = None) -> None:
        """Has it served; returns when a new model answers."""
        self.target.reload(self.config(policy, labels))

    def config(
        self, policy: Any = None, labels: Mapping[str, int] | None = None, folder: str = ""
    ) -> Any:
        """Its ModelConfig."""
        return self.target.config(
            self.name, folder, model_version_policy=policy, version_labels=labels
        )

    def answering(self, **which: Any) -> int:
        """The version that answers, after a look at its answer."""
        response = self.target.call("Predict", predict(name=self.name, **which))
        assert list(response.outputs["y"].float_val) == [6.0]
        return int(response.model_spec.version.value)

    def refusal(self, **which: Any) -> tuple[str, str]:
        """The code and the message of a request that fails."""
        return self.target.failure("Predict", predict(name=self.name, **which))

    def wait_for_states(self, expected: dict[int, str]) -> None:
        """Waits until its versions have exactly these states."""
        wait_for(
            lambda: self.target.states(self.name) == expected,
            f"{expected}, not {self.target.states(self.name)}",
        )

    def error(self, number: int) -> tuple[int, str]:
        """The code and the message of a version's status."""
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec(self.name, "", number))
        (found,) = self.target.call("GetModelStatus", request).model_version_status
        return found.status.error_code, found.status.error_message


def flags_of_target() -> set[str]:
    """What ``TF_SERVING_FLAGS`` says of the server's flags."""
    given = os.environ.get("TF_SERVING_FLAGS", "").split()
    return {flag.removeprefix("--") for flag in given}
