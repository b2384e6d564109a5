"""Starts our server, or finds the one at TF_SERVING_TARGET, with the models of the suite on it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from example_model import save_example_model
from requests_of import EXAMPLES, PLAIN, RUN, TYPES
from served_models import save_plain, save_types, save_variables
from server_process import ServerProcess
from small_models import add_version
from target import Model, Target, flags_of_target

from serving.server import ModelServer

BATCHING = Path(__file__).parent / "batching_parameters.txt"
EVERY_FLAG: dict[str, Any] = {
    "enable_batching": True,
    "batching_parameters_file": str(BATCHING),
    "allow_version_labels_for_unavailable_models": True,
    "enable_signature_method_name_check": True,
    "enable_grpc_healthcheck_service": True,
}
"""Of our second server, for the cases that need a flag."""

CHANGING = {"enable_batching", "enable_signature_method_name_check"}
"""These change what other cases are answered."""

FIRST: dict[str, Any] = {
    "max_num_load_retries": 0,
    "file_system_poll_wait_seconds": 0.05,
    # Its own config is empty, and TF-Serving knows no such bound.
    "allowed_base_path": "/",
}
"""Of our first server: what fails fails at once, and versions are seen soon."""


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """SavedModels, to be copied to versions."""
    folder = tmp_path_factory.mktemp("templates")
    return {
        "plain": save_plain(folder / "plain"),
        "types": save_types(folder / "types"),
        "examples": save_example_model(folder / "examples"),
        "variables": save_variables(folder / "variables"),
    }


@pytest.fixture(scope="session")
def empty_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config of no model."""
    file = tmp_path_factory.mktemp("config") / "models.config"
    file.write_text("model_config_list {}")
    return file


@pytest.fixture(scope="session")
def find_target(
    tmp_path_factory: pytest.TempPathFactory, templates: Mapping[str, Path], empty_config: Path
) -> Iterator[Callable[[Mapping[str, str]], Target]]:
    """Gives the server that has these flags; skips where the one at hand has not."""
    found: dict[bool, Target] = {}
    with ExitStack() as stack:

        def find(needs: Mapping[str, str]) -> Target:
            if RUN:
                skip_without(needs)
            second = bool(RUN) is False and not needs.keys() <= FIRST.keys()
            if second not in found:
                local, remote = folders(tmp_path_factory)
                address = address_of(second, empty_config, tmp_path_factory, stack)
                found[second] = target = Target(address, local, remote)
                stack.callback(target.close)
                serve_the_models(target, templates)
            return found[second]

        yield find


def skip_without(needs: Mapping[str, str]) -> None:
    has = flags_of_target()
    missing = [f"--{name}={value}" for name, value in needs.items() if f"{name}={value}" not in has]
    if missing:
        pytest.skip(f"needs a server with {' '.join(missing)}; say so in TF_SERVING_FLAGS")
    others = [flag for flag in has if flag.partition("=")[0] in CHANGING - needs.keys()]
    if others:
        pytest.skip(f"needs a server without --{' --'.join(others)}")


def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A new folder of models, as it is named here and on the server's side."""
    if not RUN:
        local = tmp_path_factory.mktemp("models")
        return local, str(local)
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.fail("one server can serve one run: leave pytest's -n out")
    here = os.environ.get("TF_SERVING_MODELS_DIR")
    if not here:
        pytest.fail("TF_SERVING_MODELS_DIR must name a folder that the server sees")
    child = f"conformance-{uuid.uuid4().hex[:8]}"
    (Path(here) / child).mkdir()
    return Path(here) / child, f"{os.environ.get('TF_SERVING_MODELS_DIR_REMOTE', here)}/{child}"


def address_of(
    second: bool, config: Path, tmp_path_factory: pytest.TempPathFactory, stack: ExitStack
) -> str:
    if RUN:
        return os.environ["TF_SERVING_TARGET"]
    if second:
        flags = {**FIRST, **EVERY_FLAG}
        return stack.enter_context(ModelServer(config, 0, **flags)).address
    # In a process of its own a request that waits takes none of the tests' threads.
    log = tmp_path_factory.mktemp("server") / "log"
    return stack.enter_context(ServerProcess(log, model_config_file=config, **FIRST)).address


def serve_the_models(target: Target, templates: Mapping[str, Path]) -> None:
    for name, template in ((PLAIN, "plain"), (TYPES, "types"), (EXAMPLES, "examples")):
        add_version(target.local / name, 3, templates[template])
    target.reload(*(target.config(name) for name in (PLAIN, TYPES, EXAMPLES)))


@pytest.fixture
def target(
    request: pytest.FixtureRequest, find_target: Callable[[Mapping[str, str]], Target]
) -> Target:
    """The server, with the flags that the test's ``follows`` names."""
    _, needs = request.param
    return find_target(needs)


@pytest.fixture
def model(target: Target, templates: Mapping[str, Path]) -> Iterator[Model]:
    """A model of this test alone."""
    model = Model(target, templates)
    yield model
    target.drop(model.name)
