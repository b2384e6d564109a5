"""The models of a server: their versions, the versions' states, and which one answers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2

from serving.saved_models import list_versions
from serving.server.loaded_model import LoadedModel
from serving.server.request_checks import RequestError, invalid_argument

_LOG = logging.getLogger(__name__)
_STATES = get_model_status_pb2.ModelVersionStatus


@dataclass
class Version:
    """One version on its way START -> LOADING -> AVAILABLE -> UNLOADING -> END.

    A version that cannot be loaded ends at once, with the error's code and message.
    """

    number: int
    state: int = _STATES.START
    error_code: int = 0
    error_message: str = ""
    model: LoadedModel | None = None

    def load(self, folder: Path, threads: int) -> None:
        """Loads the version; a failure is its state, never an exception."""
        self.state = _STATES.LOADING
        try:
            self.model = LoadedModel(folder, threads)
        except Exception as error:
            # Anything may be wrong in a SavedModel; the other models must be served.
            unknown: int = grpc.StatusCode.UNKNOWN.value[0]
            self.error_code = error.error_code if isinstance(error, tf.errors.OpError) else unknown
            self.error_message = str(error)
            self.state = _STATES.END
            _LOG.error("%s cannot be loaded: %s", folder, error)
            return
        self.state = _STATES.AVAILABLE
        _LOG.info("%s is available", folder)

    def unload(self) -> None:
        """Frees the model; what was never loaded stays as it is."""
        if self.model is None:
            return
        self.state = _STATES.UNLOADING
        self.model.close()
        self.model = None
        self.state = _STATES.END


@dataclass
class ServedModel:
    """All versions of one model."""

    name: str
    base_path: Path
    labels: dict[str, int] = field(default_factory=dict)
    versions: dict[int, Version] = field(default_factory=dict)

    def available(self) -> list[int]:
        """The versions that answer, ascending."""
        return sorted(n for n, version in self.versions.items() if version.model is not None)


class ModelStore:
    """Loads what a ``models.config`` lists, and finds the version that a request means.

    Args:
        configs: ``ModelConfig`` messages, as ``read_models_config`` gives them.
        threads: Threads of each session; 0 lets TensorFlow choose.
    """

    def __init__(self, configs: Iterable[Any], threads: int = 0):
        self._threads = threads
        self._models = {
            config.name: ServedModel(
                config.name, Path(config.base_path), dict(config.version_labels)
            )
            for config in configs
        }
        for config in configs:
            model = self._models[config.name]
            for number in choose_versions(
                list_versions(model.base_path), config.model_version_policy
            ):
                model.versions[number] = Version(number)

    def load(self) -> None:
        """Loads every version; those that fail are reported by ``status``."""
        for model in self._models.values():
            for version in model.versions.values():
                version.load(model.base_path / str(version.number), self._threads)

    def close(self) -> None:
        """Unloads every version."""
        for model in self._models.values():
            for version in model.versions.values():
                version.unload()

    def find(self, spec: Any) -> tuple[int, LoadedModel]:
        """The version and the model that a ``ModelSpec`` means; the latest unless it says.

        Raises:
            RequestError: NOT_FOUND, or INVALID_ARGUMENT for an unknown label.
        """
        model = self._models.get(spec.name)
        wanted = self._wanted_version(model, spec)
        numbers = model.available() if model else []
        if wanted is None and numbers:
            wanted = numbers[-1]
        if model is None or wanted not in numbers:
            servable = spec.name if wanted is None else f"{spec.name}, {wanted}"
            kind = "Latest" if wanted is None else "Specific"
            raise RequestError(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {kind}({servable})"
            )
        loaded = model.versions[wanted].model
        assert loaded is not None
        return wanted, loaded

    def status(self, spec: Any) -> list[Version]:
        """The versions of a model that a ``ModelSpec`` asks about, the highest first.

        Raises:
            RequestError: NOT_FOUND, or INVALID_ARGUMENT for an unknown label.
        """
        model = self._models.get(spec.name)
        wanted = self._wanted_version(model, spec)
        if model is None or not model.versions:
            raise RequestError(
                grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}"
            )
        if wanted is None:
            return [model.versions[n] for n in sorted(model.versions, reverse=True)]
        if wanted not in model.versions:
            raise RequestError(
                grpc.StatusCode.NOT_FOUND,
                f"Could not find version {wanted} of model {spec.name}",
            )
        return [model.versions[wanted]]

    def _wanted_version(self, model: ServedModel | None, spec: Any) -> int | None:
        if spec.HasField("version"):
            return int(spec.version.value)
        if not spec.version_label:
            return None
        if model is None or spec.version_label not in model.labels:
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        return model.labels[spec.version_label]


def choose_versions(numbers: list[int], policy: Any) -> list[int]:
    """Which versions a ``ServableVersionPolicy`` serves: the latest one unless it says.

    Args:
        numbers: The versions that are there, ascending.
        policy: ``all``, ``specific`` (those of its versions that are there) or ``latest``.
    """
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return numbers
    if choice == "specific":
        return [number for number in numbers if number in policy.specific.versions]
    latest = policy.latest.num_versions if choice == "latest" else 1
    return numbers[-max(1, latest) :]
