"""``models.config``: which models a server serves, in TF-Serving's text format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from idp_tf.errors import ServingError
from serving.saved_models import list_versions

CONFIG_FILE: Final = "models.config"
PLATFORM: Final = "tensorflow"


def write_models_config(folder: str | Path) -> Path:
    """Writes ``models.config`` for every model with a version under ``folder``; atomic.

    Args:
        folder: The export folder. Its absolute path goes into the file, since TF-Serving
            refuses relative ones: write the file again where the folder has moved.

    Returns:
        The file.

    Raises:
        ServingError: if there is no exported model.
    """
    folder = Path(folder).resolve()
    children = sorted(folder.iterdir()) if folder.is_dir() else []
    models = [child for child in children if list_versions(child)]
    if not models:
        raise ServingError("no exported model is here", where=folder, remedy="export a model first")
    config = model_server_config_pb2.ModelServerConfig()
    for model in models:
        config.model_config_list.config.add(
            name=model.name, base_path=str(model), model_platform=PLATFORM
        )
    file = folder / CONFIG_FILE
    fresh = file.with_name(f".{CONFIG_FILE}.tmp")
    fresh.write_text(text_format.MessageToString(config, as_utf8=True), encoding="utf-8")
    os.replace(fresh, file)
    return file


def read_models_config(file: str | Path) -> Any:
    """The ``ModelServerConfig`` of a file, not yet checked: the server does as it takes it.

    Raises:
        ServingError: if the file cannot be read, or is no ModelServerConfig.
    """
    file = Path(file)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(
            f"the model config file cannot be read: {error}",
            where=file,
            remedy="run the export stage, or name another file by --model_config_file",
        ) from error
    try:
        return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise ServingError(
            f"not a ModelServerConfig in text format: {error}",
            where=file,
            remedy="see serving/deploy/config/models.config",
        ) from error
