"""What travels with a SavedModel in ``assets.extra``: for people, for servers, for scripts."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.saved_models import (
    BATCHING_FILE,
    EXTRA_FOLDER,
    PREDICT,
    README_FILE,
    SIGNATURE_FILE,
    WARMUP_FILE,
)
from serving.tensor_protos import typed_proto
from serving.tensors import sendable_array

BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32)
"""Batches that a server makes are padded to one of these, and warmed up."""

_BATCHING: Final = f"""\
# For TF-Serving's --enable_batching --batching_parameters_file; TF-Serving's defaults
# hold for what is not named, such as a batch thread for each core.
max_batch_size {{ value: {BATCH_SIZES[-1]} }}
batch_timeout_micros {{ value: 1000 }}
max_enqueued_batches {{ value: 1000 }}
{"".join(f"allowed_batch_sizes: {size}" + chr(10) for size in BATCH_SIZES)}\
# TensorFlow would pad a history with its own first item, and the answer would be of another
# history. So clients pad to one width with "", or set this and begin every row with "".
pad_variable_length_inputs: false
"""

_README: Final = """\
# {model}

{about}

Fingerprint of settings and data: `{fingerprint}`

## Settings

{settings}

## Signatures

The first dimension of every input is the batch. Over REST, `:predict` takes one request by
rows (`instances`, as below) or by columns (`inputs`); numbers that are not finite come as
`-Infinity`, which Python's `json` reads.

{signatures}
"""


@dataclass(frozen=True)
class Method:
    """A signature as it is told of.

    Args:
        key: The signature's key.
        described: Its method, inputs and outputs, as ``describe_signature`` gives them.
        about: What it does.
        row: A request of one row, input name -> array; for methods other than Predict an
            example, feature name -> value.
        is_warmed_in_full: Whether the warm-up covers ``BATCH_SIZES``, not one row alone.
    """

    key: str
    described: Mapping[str, Any]
    about: str
    row: Mapping[str, Any]
    is_warmed_in_full: bool = False


def write_extras(
    folder: Path, about: str, facts: Mapping[str, Any], methods: Sequence[Method]
) -> None:
    """Writes ``assets.extra`` of a version.

    Args:
        folder: The version's folder.
        about: What the model is.
        facts: ``model``, ``fingerprint``, and the settings by name.
        methods: Its signatures.
    """
    extra = folder / EXTRA_FOLDER
    extra.mkdir()
    told = {**facts, "signatures": {method.key: method.described for method in methods}}
    text = json.dumps(told, indent=1, ensure_ascii=False)
    (extra / SIGNATURE_FILE).write_text(text + "\n", encoding="utf-8")
    (extra / README_FILE).write_text(_readme(about, facts, methods), encoding="utf-8")
    (extra / BATCHING_FILE).write_text(_BATCHING, encoding="utf-8")
    with tf.io.TFRecordWriter(str(extra / WARMUP_FILE)) as writer:
        for method in methods:
            if method.described["method"] == PREDICT:
                for size in BATCH_SIZES if method.is_warmed_in_full else BATCH_SIZES[:1]:
                    writer.write(_warmup_record(str(facts["model"]), method, size))


def rest_body(method: Method) -> dict[str, Any]:
    """The method's example as a body of ``:predict`` by rows, ``:classify`` or ``:regress``."""
    if method.described["method"] != PREDICT:
        return {"signature_name": method.key, "examples": [dict(method.row)]}
    instance = {name: _json_value(sendable_array(value)[0]) for name, value in method.row.items()}
    return {"signature_name": method.key, "instances": [instance]}


def _warmup_record(model: str, method: Method, size: int) -> bytes:
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = model
    predict.model_spec.signature_name = method.key
    for name, value in method.row.items():
        predict.inputs[name].CopyFrom(typed_proto(np.repeat(sendable_array(value), size, axis=0)))
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=predict)
    )
    record: bytes = log.SerializeToString()
    return record


def _json_value(value: Any) -> Any:
    """A row of an input in JSON; bytes as TF-Serving has them."""
    if isinstance(value, np.ndarray):
        return [_json_value(part) for part in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value if isinstance(value, str) else value.item()


def _readme(about: str, facts: Mapping[str, Any], methods: Sequence[Method]) -> str:
    settings = {name: value for name, value in facts.items() if name not in _NOT_SETTINGS}
    lines = [f"- {name}: {json.dumps(value)}" for name, value in settings.items()]
    return _README.format(
        model=facts["model"],
        about=about,
        fingerprint=facts["fingerprint"],
        settings="\n".join(lines) or "none",
        signatures="\n\n".join(_section(str(facts["model"]), method) for method in methods),
    )


_NOT_SETTINGS: Final = ("model", "fingerprint")


def _section(model: str, method: Method) -> str:
    verb = method.described["method"].rpartition("/")[2]
    body = json.dumps(rest_body(method), indent=1, ensure_ascii=False)
    return "\n".join(
        [
            f"### `{method.key}` ({verb})",
            "",
            method.about,
            "",
            "| | name | dtype | shape |",
            "|---|---|---|---|",
            *_rows("input", method.described["inputs"]),
            *_rows("output", method.described["outputs"]),
            "",
            f"`POST /v1/models/{model}:{verb}`",
            "",
            "```json",
            body,
            "```",
        ]
    )


def _rows(kind: str, tensors: Mapping[str, Any]) -> list[str]:
    return [
        f"| {kind} | `{name}` | {info['dtype']} | {_shape(info['shape'])} |"
        for name, info in tensors.items()
    ]


def _shape(shape: list[int] | None) -> str:
    if shape is None:
        return "any"
    return f"({', '.join('any' if size < 0 else str(size) for size in shape)})"
