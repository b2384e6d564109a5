"""What is wrong with a ``ModelServerConfig``, and the labels that one sets.

Follows TF-Serving's ``model_servers/server_core.cc``, in its codes, words and order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
from tensorflow_serving.config import model_server_config_pb2

from serving.model_config import PLATFORM
from serving.server.request_checks import RequestError, invalid_argument
from serving.server.version_source import is_inside

Labels = Mapping[str, Mapping[str, int]]
"""Model name -> label -> version."""

_TENSORFLOW: Final = model_server_config_pb2.ModelType.Value("TENSORFLOW")
_URI: Final = re.compile(r"[a-zA-Z][0-9a-zA-Z.]*://")


def check_config(old: Any, new: Any, allowed: Collection[Path] | None = None) -> None:
    """Refuses a config that cannot be served, or that the present one cannot become.

    Args:
        old: The ``ModelServerConfig`` that is served, or None.
        new: The one that is asked for.
        allowed: If given, folders in one of which every base path must lie.

    Raises:
        RequestError: INVALID_ARGUMENT, FAILED_PRECONDITION for a custom config, or
            PERMISSION_DENIED for a base path that is not allowed.
    """
    if new.WhichOneof("config") != "model_config_list":
        raise RequestError(
            grpc.StatusCode.FAILED_PRECONDITION,
            "Cannot transition to requested config. It is only legal to transition from one "
            "ModelConfigList to another.",
        )
    models = new.model_config_list.config
    names = [model.name for model in models]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise invalid_argument(f"Illegal to list model {name} multiple times in config list")
    for model in models:
        _check_base_path(model)
    before = {} if old is None else {m.name: _platform(m) for m in old.model_config_list.config}
    for model in models:
        platform = _platform(model)
        if before.get(model.name, platform) != platform:
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {model.name} platform was "
                f"{before[model.name]} and new platform requested is {platform}"
            )
    for model in models:
        if _platform(model) != PLATFORM:
            raise invalid_argument(
                f"Model {model.name} requests unsupported platform {_platform(model)}"
            )
    for model in models:
        _check_allowed(model, allowed)


def assign_labels(
    config: Any,
    present: Labels,
    is_available: Callable[[str, int], bool],
    *,
    allow_unavailable: bool = False,
) -> Labels:
    """The labels that a config sets; those of the present that it does not repeat are gone.

    Args:
        config: A ``ModelServerConfig``.
        present: The labels until now.
        is_available: Whether a version of a model answers.
        allow_unavailable: Lets a label that is new, or stays, name a version that does not.

    Raises:
        RequestError: FAILED_PRECONDITION, for a label of a version that is not available.
    """
    labels: dict[str, dict[str, int]] = {}
    for model in config.model_config_list.config:
        for label, version in model.version_labels.items():
            moved = present.get(model.name, {}).get(label, version) != version
            if not (allow_unavailable and not moved) and not is_available(model.name, version):
                raise RequestError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {model.name}, "
                    "which is not currently available for inference",
                )
            labels.setdefault(model.name, {})[label] = version
    return labels


def _check_base_path(model: Any) -> None:
    path = model.base_path
    if not path.startswith("/") and not _URI.match(path):
        raise invalid_argument(
            f"Expected model {model.name} to have an absolute path or URI; got base_path()={path}"
        )


def _check_allowed(model: Any, allowed: Collection[Path] | None) -> None:
    path = model.base_path
    if allowed is not None and not any(is_inside(path, folder) for folder in allowed):
        raise RequestError(
            grpc.StatusCode.PERMISSION_DENIED,
            f"base_path {path} of model {model.name} is outside of --allowed_base_path or, where "
            "that is not given, of the folders in which the models of the server's own config lie",
        )


def _platform(model: Any) -> str:
    if not model.model_type:
        platform = str(model.model_platform)
    elif model.model_platform:
        raise invalid_argument(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            f"ModelServerConfig::model_platform, model name is {model.name}"
        )
    elif model.model_type == _TENSORFLOW:
        platform = PLATFORM
    else:
        raise invalid_argument(
            f"ModelServerConfig::model_type choice {model.model_type} not supported."
        )
    if not platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {model.name}"
        )
    return platform
