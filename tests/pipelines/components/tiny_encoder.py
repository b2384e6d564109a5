"""A text encoder exported as the matcher's trainer exports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from idp_tf.text import TextEncoder
from pipelines.artifacts import MODEL, Artifact


def export_encoder(encoder: TextEncoder, folder: Path, fingerprint: str = "encoder") -> Artifact:
    """Serialized Examples -> ``embedding``; only plain variables are saved."""
    layer = encoder.title_layer()
    module: Any = tf.Module()
    module.kept = [variable.value for variable in encoder.backbone.weights]

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="examples")])
    def embed(examples: Any) -> dict[str, Any]:
        titles = tf.io.parse_example(examples, {"title": tf.io.FixedLenFeature([], tf.string, "")})
        vectors = tf.ensure_shape(layer(titles["title"]), (None, encoder.width))
        return {"embedding": vectors}

    module.tables = encoder.tokenizer
    place = folder / "Format-Serving"
    tf.saved_model.save(module, str(place), signatures={"serving_default": embed})
    return Artifact(MODEL, folder, fingerprint, {})
