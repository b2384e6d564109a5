"""SavedModels in TF-Serving's folder layout: ``base/<name>/<version>/``."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from idp_tf.errors import ServingError
from serving.tensor_protos import typed_proto

SERVING_DEFAULT: Final = "serving_default"
SERVE_TAG: Final = "serve"
SAVED_MODEL_FILE: Final = "saved_model.pb"
EXTRA_FOLDER: Final = "assets.extra"
"""TensorFlow's place for files that travel with a SavedModel and are not part of its graph."""

WARMUP_FILE: Final = "tf_serving_warmup_requests"
SIGNATURE_FILE: Final = "signature.json"


def list_versions(base_path: str | Path) -> list[int]:
    """The versions under a base path, ascending; children that are no integers are ignored."""
    folder = Path(base_path)
    if not folder.is_dir():
        return []
    names = (child.name for child in folder.iterdir() if child.is_dir())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def write_saved_model(
    base_path: str | Path,
    function: Callable[..., Mapping[str, tf.Tensor]],
    inputs: Sequence[tf.TensorSpec],
    *,
    resources: Sequence[Any] = (),
    warmup: Sequence[Mapping[str, Any]] = (),
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a function as the next version under ``base_path``; it appears whole or not at all.

    Only the variables that the function reads are saved, as plain ``tf.Variable``s. A Keras
    object in the saved tree would be saved a second time by Keras, and served clones of its
    variables would never be initialised.

    Args:
        base_path: The model's folder; its name is the model's name.
        function: Takes the inputs by name, returns the outputs by name.
        inputs: The signature's inputs, each with its name.
        resources: What else must live as long as the function, such as look-up tables.
        warmup: Requests (input name -> array) that TF-Serving replays when it loads the version.
        notes: What ``signature.json`` holds besides the signature.

    Returns:
        The version's folder.
    """
    base = Path(base_path)
    concrete = tf.function(function, input_signature=list(inputs)).get_concrete_function()
    module = tf.Module()
    module.read_variables = list(concrete.graph.variables)
    module.resources = list(resources)
    version = (list_versions(base) or [0])[-1] + 1
    # The name is no integer, so that a server that looks now does not see a version in it.
    fresh = base / f".{version}.tmp"
    shutil.rmtree(fresh, ignore_errors=True)
    tf.saved_model.save(module, str(fresh), signatures={SERVING_DEFAULT: concrete})
    _write_extras(fresh, base.name, warmup, dict(notes or {}))
    os.rename(fresh, base / str(version))
    return base / str(version)


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
    """Inputs and outputs of a signature: dtype, shape (-1: any) and tensor name of each."""
    signature = read_meta_graph(version_folder).signature_def[key]
    return {
        "signature": key,
        "inputs": _describe(signature.inputs),
        "outputs": _describe(signature.outputs),
    }


def _describe(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "dtype": tf.dtypes.as_dtype(info.dtype).name,
            "shape": [dim.size for dim in info.tensor_shape.dim],
            "tensor": info.name,
        }
        for name, info in sorted(tensors.items())
    }


def _write_extras(
    folder: Path, name: str, warmup: Sequence[Mapping[str, Any]], notes: dict[str, Any]
) -> None:
    extra = folder / EXTRA_FOLDER
    extra.mkdir()
    text = json.dumps({**describe_signature(folder), **notes}, indent=1, ensure_ascii=False)
    (extra / SIGNATURE_FILE).write_text(text + "\n", encoding="utf-8")
    if not warmup:
        return
    with tf.io.TFRecordWriter(str(extra / WARMUP_FILE)) as writer:
        for request in warmup:
            writer.write(_warmup_record(name, request))


def _warmup_record(name: str, request: Mapping[str, Any]) -> bytes:
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = name
    predict.model_spec.signature_name = SERVING_DEFAULT
    for key, value in request.items():
        predict.inputs[key].CopyFrom(typed_proto(value))
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=predict)
    )
    record: bytes = log.SerializeToString()
    return record
