"""A model in a folder: its class, its config and its weights."""

from __future__ import annotations

import json
import os
from pathlib import Path

import tf_keras

from idp_tf.errors import WorkdirError
from idp_tf.models.base import SequenceModel
from idp_tf.strategy import chiefs_folder

_CONFIG_FILE = "model.json"
_WEIGHTS_FILE = "model.weights.h5"


def save_model(model: SequenceModel, folder: str | Path) -> None:
    """Writes a model's class, config and weights into a folder that is made for it.

    Each of the two files appears whole or not at all, the config last. Under a strategy of
    several workers all of them must call this; the chief writes.

    Args:
        model: A model whose class is registered with tf_keras, such as ``SASRec``.
        folder: Where it is to lie; its parents are made.
    """
    description = {
        "class": tf_keras.utils.get_registered_name(type(model)),
        "config": model.get_config(),
    }
    with chiefs_folder(model.distribute_strategy, Path(folder)) as place:
        partial = place / f"partial.{_WEIGHTS_FILE}"
        model.save_weights(partial)
        os.replace(partial, place / _WEIGHTS_FILE)
        partial = place / f"partial.{_CONFIG_FILE}"
        partial.write_text(json.dumps(description, indent=1), encoding="utf-8")
        os.replace(partial, place / _CONFIG_FILE)


def load_model(folder: str | Path) -> SequenceModel:
    """Reads what ``save_model`` wrote.

    Raises:
        WorkdirError: if the folder holds no whole model, or one of an unknown class.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / _CONFIG_FILE).read_text(encoding="utf-8"))
        model_class = tf_keras.utils.get_registered_object(description["class"])
        model = model_class.from_config(description["config"])
        model.load_weights(folder / _WEIGHTS_FILE)
    except (OSError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise WorkdirError(
            f"no whole model: {error}", where=folder, remedy="delete the folder and run again"
        ) from error
    assert isinstance(model, SequenceModel)
    return model
