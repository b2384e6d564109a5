"""SavedModels in TF-Serving's folder layout: ``base/<name>/<version>/``."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from idp_tf.errors import ServingError
from serving.saved_model_extras import EXTRA_FOLDER, WARMUP_FILE, Method, write_extras

__all__ = [
    "EXTRA_FOLDER",
    "SAVED_MODEL_FILE",
    "SERVE_TAG",
    "SERVING_DEFAULT",
    "WARMUP_FILE",
    "Signature",
    "describe_signature",
    "describe_signatures",
    "list_versions",
    "read_meta_graph",
    "texts_digest",
    "write_saved_model",
]

SERVING_DEFAULT: Final = "serving_default"
SERVE_TAG: Final = "serve"
SAVED_MODEL_FILE: Final = "saved_model.pb"

_INIT_OP: Final = "__saved_model_init_op"
"""TensorFlow's own entry among the signatures."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One way to ask a SavedModel.

    Args:
        function: Takes the inputs by name, returns the outputs by name.
        inputs: Each with its name, its first dimension the batch.
        about: What it does, for ``README.md``.
        row: A request of one row, input name -> array; an example, and the warm-up.
        is_warmed_in_full: Whether the warm-up covers every batch size, not one row alone.
    """

    function: Callable[..., Mapping[str, tf.Tensor]]
    inputs: Sequence[tf.TensorSpec]
    about: str
    row: Mapping[str, Any]
    is_warmed_in_full: bool = False


def list_versions(base_path: str | Path) -> list[int]:
    """The versions under a base path, ascending; children that are no integers are ignored."""
    folder = Path(base_path)
    if not folder.is_dir():
        return []
    names = (child.name for child in folder.iterdir() if child.is_dir())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def write_saved_model(
    base_path: str | Path,
    signatures: Mapping[str, Signature],
    *,
    about: str,
    resources: Sequence[Any] = (),
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Writes functions as the next version under ``base_path``; it appears whole or not at all.

    Only the variables that the functions read are saved, as plain ``tf.Variable``s. A Keras
    object in the saved tree would be saved a second time by Keras, and served clones of its
    variables would never be initialised.

    ``assets.extra`` of the version gets ``README.md``, ``signature.json`` with a fingerprint
    of settings and data, ``batching_parameters.txt`` for ``--batching_parameters_file``, and
    the warm-up requests that TF-Serving replays when it loads the version.

    Args:
        base_path: The model's folder; its name is the model's name.
        signatures: By their keys.
        about: What the model is, for ``README.md``.
        resources: What else must live as long as the functions, such as look-up tables.
        notes: The settings: what ``signature.json`` holds besides the signatures.

    Returns:
        The version's folder.
    """
    base = Path(base_path)
    concrete = {
        key: tf.function(
            signature.function, input_signature=list(signature.inputs)
        ).get_concrete_function()
        for key, signature in signatures.items()
    }
    module = tf.Module()
    module.read_variables = _read_variables(concrete.values())
    module.resources = list(resources)
    version = (list_versions(base) or [0])[-1] + 1
    # The name is no integer, so that a server that looks now does not see a version in it.
    fresh = base / f".{version}.tmp"
    shutil.rmtree(fresh, ignore_errors=True)
    tf.saved_model.save(module, str(fresh), signatures=concrete)
    settings, described = dict(notes or {}), describe_signatures(fresh)
    facts = {
        "model": base.name,
        "fingerprint": _fingerprint(settings, described, module.read_variables),
        **settings,
    }
    methods = [
        Method(key, described[key], signature.about, signature.row, signature.is_warmed_in_full)
        for key, signature in signatures.items()
    ]
    write_extras(fresh, about, facts, methods)
    os.rename(fresh, base / str(version))
    return base / str(version)


def texts_digest(texts: Iterable[str]) -> str:
    """A hash of texts in their order, for notes: what is in a graph is in no variable.

    Example:
        >>> texts_digest(["a", "b"]) == texts_digest(["ab"])
        False
    """
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()


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


def _read_variables(functions: Iterable[Any]) -> list[tf.Variable]:
    """What the functions read, each once, in the order of its first use."""
    found = {id(variable): variable for f in functions for variable in f.graph.variables}
    return list(found.values())


def _fingerprint(
    settings: Mapping[str, Any], signatures: Mapping[str, Any], variables: Sequence[tf.Variable]
) -> str:
    """SHA-256 of settings, signatures and weights; names of variables depend on the process."""
    told = json.dumps([settings, signatures], sort_keys=True)
    digest = hashlib.sha256(told.encode())
    for variable in variables:
        values = variable.numpy()
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
