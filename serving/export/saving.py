"""Functions as a SavedModel, whole or not at all."""

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
from tensorflow.core.protobuf import saved_model_pb2

from serving.export.extras import Method, write_extras
from serving.saved_models import EXTRA_FOLDER, SAVED_MODEL_FILE, describe_signatures, list_versions

_FINGERPRINT_FILE: Final = "fingerprint.pb"


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


@dataclass(frozen=True, kw_only=True)
class View:
    """Some outputs of a signature under another key and method, classify or regress: its key.

    Args:
        of: The signature, whose input is serialized tf.Examples.
        outputs: Which of its outputs.
        about: What it does, for ``README.md``.
        example: Features by name, a request's only example.
    """

    of: str
    outputs: Sequence[str]
    about: str
    example: Mapping[str, Any]


def write_saved_model(
    base_path: str | Path,
    signatures: Mapping[str, Signature],
    *,
    about: str,
    views: Mapping[str, View] | None = None,
    resources: Sequence[Any] = (),
    notes: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
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
        views: What else to call some of their outputs, by the key ``classify`` or ``regress``.
        resources: What else must live as long as the functions, such as look-up tables.
        notes: The settings: what ``signature.json`` holds besides the signatures.
        files: Texts that go to ``assets.extra`` besides, by file name.

    Returns:
        The version's folder.
    """
    base = Path(base_path)
    concrete = {
        key: tf.function(
            signature.function, input_signature=list(signature.inputs), autograph=False
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
    _add_views(fresh, views or {})
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
    methods += [
        Method(key, described[key], view.about, view.example) for key, view in (views or {}).items()
    ]
    write_extras(fresh, about, facts, methods)
    for name, text in (files or {}).items():
        (fresh / EXTRA_FOLDER / name).write_text(text, encoding="utf-8")
    os.rename(fresh, base / str(version))
    return base / str(version)


def texts_digest(texts: Iterable[str]) -> str:
    """A hash of texts in their order, for notes: what is in a graph is in no variable.

    Example:
        >>> texts_digest(["a", "b"]) == texts_digest(["ab"])
        False
    """
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()


def _add_views(folder: Path, views: Mapping[str, View]) -> None:
    """Signatures of other methods than Predict, which ``tf.saved_model.save`` does not write."""
    if not views:
        return
    file = folder / SAVED_MODEL_FILE
    saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    signatures = saved_model.meta_graphs[0].signature_def
    for key, view in views.items():
        signatures[key].method_name = f"tensorflow/serving/{key}"
        signatures[key].inputs.MergeFrom(signatures[view.of].inputs)
        for name in view.outputs:
            signatures[key].outputs[name].CopyFrom(signatures[view.of].outputs[name])
    file.write_bytes(saved_model.SerializeToString(deterministic=True))
    # TensorFlow's hash of what the file was; it is optional, and ours is in signature.json.
    (folder / _FINGERPRINT_FILE).unlink(missing_ok=True)


def _read_variables(functions: Iterable[Any]) -> list[tf.Variable]:
    """What the functions read, each once, in the order of its first use.

    A graph's own list of its variables is a set, in another order each time.
    """
    found: dict[int, tf.Variable] = {}
    for function in functions:
        handles = {id(variable.handle): variable for variable in function.graph.variables}
        used = [handles.pop(id(tensor), None) for tensor in function.captured_inputs]
        for variable in (*used, *handles.values()):
            if variable is not None:
                found.setdefault(id(variable), variable)
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
