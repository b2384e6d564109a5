"""models.config: written for what is there, read with every fault named."""

from __future__ import annotations

from pathlib import Path

import pytest

from idp_tf.errors import ServingError
from serving.model_config import read_models_config, write_models_config


def config_of(name: str, path: Path | str, platform: str = "tensorflow") -> str:
    return f'config {{ name: "{name}" base_path: "{path}" model_platform: "{platform}" }}'


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    """A model's folder with one version."""
    (tmp_path / "m" / "3").mkdir(parents=True)
    return tmp_path / "m"


def test_lists_what_has_a_version(base_path: Path) -> None:
    folder = base_path.parent
    (folder / "half" / ".1.tmp").mkdir(parents=True)
    (folder / "a" / "1").mkdir(parents=True)
    models = read_models_config(write_models_config(folder))
    assert [(m.name, m.base_path, m.model_platform) for m in models] == [
        ("a", str(folder / "a"), "tensorflow"),
        ("m", str(folder / "m"), "tensorflow"),
    ]
    assert sorted(child.name for child in folder.iterdir()) == ["a", "half", "m", "models.config"]


def test_nothing_exported(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="no exported model is here"):
        write_models_config(tmp_path / "absent")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="cannot be read") as caught:
        read_models_config(tmp_path / "models.config")
    assert "--model_config_file" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_config_list { config {", "not a ModelServerConfig"),
        ("modells {}", "not a ModelServerConfig"),
        ("", "no model is listed"),
        ("model_config_list {}", "no model is listed"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "models.config"
    file.write_text(text)
    with pytest.raises(ServingError, match=message):
        read_models_config(file)


@pytest.mark.parametrize(
    ("name", "path", "platform", "message"),
    [
        ("", "{base}", "tensorflow", "has no name"),
        ("m", "{base}", "caffe", "has the platform 'caffe'"),
        ("m", "m", "tensorflow", "Expected model m to have an absolute path or URI"),
        ("m", "{base}/3", "tensorflow", "the model 'm' has no version under"),
        ("m", "{base}/absent", "tensorflow", "the model 'm' has no version under"),
    ],
)
def test_a_model_that_cannot_be_served(
    base_path: Path, tmp_path: Path, name: str, path: str, platform: str, message: str
) -> None:
    file = tmp_path / "models.config"
    config = config_of(name, path.format(base=base_path), platform)
    file.write_text(f"model_config_list {{ {config} }}")
    with pytest.raises(ServingError, match=message):
        read_models_config(file)


def test_a_name_twice(base_path: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.config"
    twice = " ".join([config_of("m", base_path)] * 2)
    file.write_text(f"model_config_list {{ {twice} }}")
    with pytest.raises(ServingError, match="'m' is listed 2 times"):
        read_models_config(file)
