"""A small SavedModel over tf.Example, with signatures that are right and such that are not.

An example holds ``x``, a float that is 0 where it is absent, and ``name``, a text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
FEATURES = {
    "x": tf.io.FixedLenFeature([], tf.float32, 0.0),
    "name": tf.io.FixedLenFeature([], tf.string, ""),
}
Outputs = dict[str, tf.Tensor]


def label(x: tf.Tensor, name: tf.Tensor) -> Outputs:
    """Two classes: the name with "+" and "-", scored x and -x."""
    return {
        "classes": tf.stack([name + "+", name + "-"], 1),
        "scores": tf.stack([x, -x], 1),
    }


SIGNATURES: dict[str, Callable[[tf.Tensor, tf.Tensor], Outputs]] = {
    "serving_default": label,
    "classes": lambda x, name: {"classes": label(x, name)["classes"]},
    "scores": lambda x, name: {"scores": label(x, name)["scores"]},
    "half": lambda x, _: {"outputs": x / 2 + 2},
    "column": lambda x, _: {"outputs": x[:, None] / 2 + 3},
    # What TF-Serving refuses before it runs ...
    "three": lambda x, name: {**label(x, name), "more": x},
    "other": lambda x, _: {"answer": x},
    # ... and after.
    "flat": lambda x, name: {"classes": name, "scores": x[:, None]},
    "numbers": lambda x, _: {"classes": tf.cast(x[:, None], tf.int64), "scores": x[:, None]},
    "doubles": lambda x, name: {"classes": name[:, None], "scores": tf.cast(x[:, None], tf.double)},
    "first": lambda x, name: {"classes": name[:1, None], "scores": x[:, None]},
    "uneven": lambda x, name: {"classes": name[:, None], "scores": label(x, name)["scores"]},
    "wide": lambda x, _: {"outputs": tf.stack([x, x], 1)},
    "one": lambda x, _: {"outputs": x[:1]},
    "double": lambda x, _: {"outputs": tf.cast(x, tf.double)},
}


def save_example_model(folder: Path, **more: tf.types.experimental.Callable) -> Path:
    """Writes the model; "classes" and "half" are given TF-Serving's own method names.

    Args:
        folder: Where to.
        more: Further signatures.
    """
    module = tf.Module()
    signatures = {key: over_examples(make) for key, make in SIGNATURES.items()}
    signatures["float"] = tf.function(lambda inputs: {"outputs": inputs}).get_concrete_function(
        inputs=tf.TensorSpec([None], tf.float32, "inputs")
    )
    signatures["renamed"] = tf.function(lambda texts: {"outputs": texts}).get_concrete_function(
        texts=tf.TensorSpec([None], tf.string, "texts")
    )
    signatures["two"] = tf.function(lambda a, b: {"outputs": a + b}).get_concrete_function(
        a=tf.TensorSpec([None], tf.string, "a"), b=tf.TensorSpec([None], tf.string, "b")
    )
    signatures["scaled"] = tf.function(lambda x, k: {"y": k * x}).get_concrete_function(
        x=tf.TensorSpec([None], tf.float32, "x"), k=tf.TensorSpec([], tf.float32, "k")
    )
    tf.saved_model.save(module, str(folder), signatures={**signatures, **more})
    name_methods(folder / "saved_model.pb", {"classes": CLASSIFY, "half": REGRESS})
    return folder


def over_examples(
    make: Callable[[tf.Tensor, tf.Tensor], Outputs],
) -> tf.types.experimental.Callable:
    def parse(inputs: tf.Tensor) -> Outputs:
        features = tf.io.parse_example(inputs, FEATURES)
        return make(features["x"], features["name"])

    return tf.function(parse).get_concrete_function(
        inputs=tf.TensorSpec([None], tf.string, "inputs")
    )


def name_methods(file: Path, methods: dict[str, str]) -> None:
    """TensorFlow 2 says "predict" of every signature; earlier savers named what it is for."""
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for key, method in methods.items():
        saved.meta_graphs[0].signature_def[key].method_name = method
    file.write_bytes(saved.SerializeToString())
