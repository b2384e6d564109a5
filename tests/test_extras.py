"""What is left out of an installation is missed only by what needs it, and by its name."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

import pytest
from tiny_world import Invocation, command, invoke

from idp_tf import workflow
from idp_tf.errors import MissingDependencyError

ROOT = Path(__file__).parents[1]


def leave_out(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a package impossible to import, and forgets our modules that may have done so."""
    for name in [package, *sys.modules]:
        if name.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, name, None)
        elif name.partition(".")[0] == "serving":
            monkeypatch.delitem(sys.modules, name)
    for name in ("stages", "export"):
        monkeypatch.delitem(sys.modules, f"idp_tf.workflow.{name}", raising=False)
        monkeypatch.delattr(workflow, name, raising=False)


def assert_names_serving(done: Invocation, package: str) -> None:
    assert done.code == 2, done.err
    assert done.err.startswith("Error: ") and f"needs the package '{package}'" in done.err
    assert "pip install 'idp-tf[serving]'" in done.err


def test_only_the_export_needs_serving(
    world: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out("tensorflow_serving", monkeypatch)
    arguments = command(world, tmp_path / "w", tiny_bert)[1:]
    prepared = invoke("prepare", *arguments)
    assert prepared.code == 0, prepared.err
    assert_names_serving(invoke("export", "--workdir", tmp_path / "w"), "tensorflow_serving")


def test_a_run_finds_it_missing_at_once(
    world: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out("tensorflow_serving", monkeypatch)
    done = invoke(*command(world, tmp_path / "w", tiny_bert))
    assert_names_serving(done, "tensorflow_serving")
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("package", ["tensorflow_serving", "grpc"])
def test_the_server_needs_serving(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(package, monkeypatch)
    assert_names_serving(invoke("serve", "--model_config_file", "models.config"), package)


def test_the_client_needs_grpc_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    question = ("query", "--items", "a", "--address", "127.0.0.1:1")
    leave_out("tensorflow_serving", monkeypatch)
    assert "no server answers here" in invoke(*question).err
    leave_out("grpc", monkeypatch)
    assert_names_serving(invoke(*question), "grpc")


@pytest.mark.parametrize("extra", ["encoder", "pipelines"])
def test_what_pip_cannot_resolve_comes_without_dependencies(extra: str) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (pinned,) = (line for line in setup["options.extras_require"][extra].split() if "==" in line)
    remedy = MissingDependencyError("some_package", extra=extra, purpose="a test").remedy
    assert remedy is not None and remedy.endswith(f"pip install --no-deps {pinned}")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (_, installing) = readme.split("**Installing with pip.**")
    for package in remedy.replace("pip install", "").replace("--no-deps", "").split():
        assert package == "&&" or package in installing
