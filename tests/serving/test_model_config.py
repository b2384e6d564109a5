"""models.config: written for what is there, read with every fault named."""

from __future__ import annotations

from pathlib import Path

import pytest

from idp_tf.errors import ServingError
from serving.model_config import read_models_config, write_models_config


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    """A model's folder with one version."""
    (tmp_path / "m" / "3").mkdir(parents=True)
    return tmp_path / "m"


def test_lists_what_has_a_version(base_path: Path) -> None:
    folder = base_path.parent
    (folder / "half" / ".1.tmp").mkdir(parents=True)
    (folder / "a" / "1").mkdir(parents=True)
    models = read_models_config(write_models_config(folder)).model_config_list.config
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
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "models.config"
    file.write_text(text)
    with pytest.raises(ServingError, match=message):
        read_models_config(file)
