"""SavedModels in TF-Serving's folder layout: ``base/<name>/<version>/``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from idp_tf.errors import ServingError

SERVING_DEFAULT: Final = "serving_default"
SERVE_TAG: Final = "serve"
SAVED_MODEL_FILE: Final = "saved_model.pb"
EXTRA_FOLDER: Final = "assets.extra"
"""TensorFlow's place for files that travel with a SavedModel and are not part of its graph."""

WARMUP_FILE: Final = "tf_serving_warmup_requests"
TITLES_FILE: Final = "titles.json"
"""``[[item id, title], ...]`` of a recommender's items, for people."""

SIGNATURE_FILE: Final = "signature.json"
README_FILE: Final = "README.md"
BATCHING_FILE: Final = "batching_parameters.txt"

PREDICT: Final = "tensorflow/serving/predict"

_INIT_OP: Final = "__saved_model_init_op"
"""TensorFlow's own entry among the signatures."""


def list_versions(base_path: str | Path) -> list[int]:
    """The versions under a base path, ascending; children that are no integers are ignored."""
    folder = Path(base_path)
    if not folder.is_dir():
        return []
    names = (child.name for child in folder.iterdir() if child.is_dir())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def read_meta_graph(version_folder: str | Path) -> meta_graph_pb2.MetaGraphDef:
    """The graph and the signatures of a SavedModel, as a server reads them.

    Raises:
        ServingError: if there is no SavedModel, or none with the tag ``serve``.
    """
    file = Path(version_folder) / SAVED_MODEL_FILE
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    except OSError as error:
        raise ServingError(
            "no SavedModel can be read here", where=file, remedy="export the model again"
        ) from error
    for meta_graph in saved_model.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == {SERVE_TAG}:
            return meta_graph
    raise ServingError(f"no graph has the tag '{SERVE_TAG}'", where=file)


def describe_signature(version_folder: str | Path, key: str = SERVING_DEFAULT) -> dict[str, Any]:
    """Method, inputs and outputs of a signature.

    Of each input and output: dtype, shape (-1: any; None: of any rank) and tensor name.
    """
    signature = read_meta_graph(version_folder).signature_def[key]
    return {
        "method": signature.method_name,
        "inputs": _describe(signature.inputs),
        "outputs": _describe(signature.outputs),
    }


def describe_signatures(version_folder: str | Path) -> dict[str, dict[str, Any]]:
    """Every signature by its key; see ``describe_signature``."""
    keys = sorted(set(read_meta_graph(version_folder).signature_def) - {_INIT_OP})
    return {key: describe_signature(version_folder, key) for key in keys}


def _describe(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "dtype": tf.dtypes.as_dtype(info.dtype).name,
            "shape": None
            if info.tensor_shape.unknown_rank
            else [dim.size for dim in info.tensor_shape.dim],
            "tensor": info.name,
        }
        for name, info in sorted(tensors.items())
    }
