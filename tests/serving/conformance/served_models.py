"""The SavedModels that the suite serves: plain TensorFlow ops, which every TF-Serving has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

DTYPES = (
    tf.float16,
    tf.bfloat16,
    tf.float32,
    tf.float64,
    tf.complex64,
    tf.complex128,
    tf.int8,
    tf.int16,
    tf.int32,
    tf.int64,
    tf.uint8,
    tf.uint16,
    tf.uint32,
    tf.uint64,
    tf.bool,
    tf.string,
)
Outputs = dict[str, tf.Tensor]


def double(x: tf.Tensor) -> Outputs:
    return {"y": 2 * x}


def combine(a: tf.Tensor, b: tf.Tensor) -> Outputs:
    return {"sum": tf.cast(a, tf.float32) + b, "product": tf.cast(a, tf.float32) * b}


def scale(x: tf.Tensor, k: tf.Tensor) -> Outputs:
    return {"y": x * k}


def parse(text: tf.Tensor) -> Outputs:
    """Fails for a text that is no number."""
    return {"y": tf.strings.to_number(text)}


def wait(x: tf.Tensor, file: tf.Tensor) -> Outputs:
    """Doubles once a file is there."""

    def is_missing(step: tf.Tensor) -> tf.Tensor:
        # Else the look at the folder does not depend on the loop, and could leave it.
        nothing = tf.strings.substr(tf.as_string(step), 0, 0)
        return tf.size(tf.io.matching_files(file + nothing)) == 0

    step = tf.while_loop(is_missing, lambda i: [i + 1], [tf.constant(0)], parallel_iterations=1)
    return {"y": 2 * x + 0 * tf.cast(step[0], tf.float32)}


def vector(name: str, dtype: tf.DType = tf.float32) -> tf.TensorSpec:
    return tf.TensorSpec([None], dtype, name)


def save_plain(folder: Path) -> Path:
    """``serving_default`` doubles; ``optional`` scales by 10 unless told otherwise."""
    numbers = [vector("a", tf.int32), vector("b")]
    factor = [vector("x"), tf.TensorSpec([], tf.float32, "k")]
    signatures = {
        "serving_default": concrete(double, [vector("x")]),
        "combine": concrete(combine, numbers),
        "scale": concrete(scale, factor),
        "optional": concrete(scale, factor),
        "parse": concrete(parse, [vector("text", tf.string)]),
        "wait": concrete(wait, [vector("x"), vector("file", tf.string)]),
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    file = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    defaults = saved.meta_graphs[0].signature_def["optional"].defaults
    defaults["k"].CopyFrom(tf.make_tensor_proto(10.0))
    file.write_bytes(saved.SerializeToString())
    return folder


def save_types(folder: Path) -> Path:
    """A signature for each dtype, of the dtype's name, that gives back what it is given."""
    signatures = {
        dtype.name: concrete(lambda x: {"y": tf.identity(x)}, [vector("x", dtype)])
        for dtype in DTYPES
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    return folder


def save_variables(folder: Path) -> Path:
    """Doubles by a variable, so that there is a variables file to be torn."""
    module = tf.Module()
    module.factor = tf.Variable(tf.fill([4096], 2.0))
    times = tf.function(lambda x: {"y": x * module.factor[0]}, input_signature=[vector("x")])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": times})
    return folder


def concrete(function: Any, specs: list[tf.TensorSpec]) -> Any:
    return tf.function(function, input_signature=specs).get_concrete_function()


def write_warmup(version: Path, *logs: prediction_log_pb2.PredictionLog) -> None:
    """Requests that a server replays before it lets the version answer."""
    extra = version / "assets.extra"
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
