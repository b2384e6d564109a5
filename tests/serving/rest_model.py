"""A small SavedModel for the REST API: one and several tensors, texts, bytes, no batch."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import tensorflow as tf
from example_model import label, over_examples
from small_models import PATIENCE

FLOATS = tf.TensorSpec([None], tf.float32, name="x")
TEXTS = tf.TensorSpec([None], tf.string, name="text")


def save_rest_model(folder: Path) -> Path:
    """Writes the model."""
    signatures = {
        "serving_default": tf.function(lambda x: {"y": 2 * x}).get_concrete_function(x=FLOATS),
        "describe": tf.function(
            lambda x, text: {
                "pair": tf.stack([x, -x], 1),
                "text": text + "!",
                "text_bytes": text,
            }
        ).get_concrete_function(x=FLOATS, text=TEXTS),
        "lengths": tf.function(
            lambda text: {"length": tf.strings.length(text)}
        ).get_concrete_function(text=TEXTS),
        "sum": tf.function(lambda x: {"y": tf.reduce_sum(x)}).get_concrete_function(x=FLOATS),
        "uneven": tf.function(lambda x: {"a": x, "b": x[:1]}).get_concrete_function(x=FLOATS),
        "classes": over_examples(label),
        "half": over_examples(lambda x, _: {"outputs": x / 2 + 2}),
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    return folder


class Answer(NamedTuple):
    """What an HTTP request is answered with."""

    status: int
    body: str
    headers: Mapping[str, str]


def ask(
    url: str,
    path: str,
    body: str | bytes | None = None,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """A GET, or a POST where there is a body, by a client that is not the server's library."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    try:
        data = body.encode() if isinstance(body, str) else body
        connection.request(
            method or ("GET" if body is None else "POST"), path, data, dict(headers or {})
        )
        response = connection.getresponse()
        text = response.read().decode(errors="backslashreplace")
        return Answer(response.status, text, response.headers)
    finally:
        connection.close()
