"""The recommender over tf.Examples, for Classify, Regress and MultiInference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import tensorflow as tf

from serving.export.parts import Parts
from serving.export.recommender_signatures import answer, scores_of
from serving.export.saving import Signature, View

EXAMPLES: Final = "examples"
CLASSIFY: Final = "classify"
REGRESS: Final = "regress"

DEFAULT_K: Final = 10
"""How many classes an example gets that does not say."""

_ABOUT: Final = (
    "tf.Examples with the features `item_ids` (bytes, any number, oldest first), `k` (one int64, "
    f"{DEFAULT_K} if there is none) and `candidate_item_id` (bytes)."
)


def example_signature(parts: Parts, example: str) -> Signature:
    """Serialized tf.Examples -> recommendations, and the score of one candidate.

    The one signature computes what its views ``classify`` and ``regress`` ask for, so that a
    MultiInference reads and encodes each history once.

    Args:
        parts: What the recommender's signatures share.
        example: An item id, for example requests.
    """
    return Signature(
        function=_run(parts),
        inputs=(tf.TensorSpec((None,), tf.string, name="inputs"),),
        about=f"{_ABOUT} What `classify` and `regress` give, for Predict.",
        row={"inputs": [serialized_example(_features(parts, example))]},
    )


def example_views(parts: Parts, example: str) -> dict[str, View]:
    """Classify and Regress over what ``example_signature`` computes."""
    features = _features(parts, example)
    return {
        CLASSIFY: View(
            of=EXAMPLES,
            outputs=("classes", "scores"),
            about=f"{_ABOUT} Classes are the `k` best items; the answer is as wide as the greatest "
            '`k` of the request, its tail "" with the score -inf.',
            example={name: features[name] for name in ("item_ids", "k")},
        ),
        REGRESS: View(
            of=EXAMPLES,
            outputs=("outputs",),
            about=f"{_ABOUT} The value is the candidate's score; -inf if it or the whole history "
            "is unknown.",
            example={name: features[name] for name in ("item_ids", "candidate_item_id")},
        ),
    }


def _features(parts: Parts, example: str) -> dict[str, Any]:
    return {
        "item_ids": [example],
        "k": min(DEFAULT_K, parts.catalogue.num_items),
        "candidate_item_id": example,
    }


def serialized_example(features: Mapping[str, Any]) -> bytes:
    """A serialized tf.Example of strings, lists of strings and integers, by feature name.

    Example:
        >>> len(serialized_example({"item_ids": ["a", "b"], "k": 3})) > 0
        True
    """
    example = tf.train.Example()
    for name, value in features.items():
        feature = example.features.feature[name]
        if isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.bytes_list.value.extend(t.encode() for t in np.atleast_1d(value).tolist())
    serialized: bytes = example.SerializeToString()
    return serialized


def _run(parts: Parts) -> Callable[..., dict[str, tf.Tensor]]:
    read = {
        "item_ids": tf.io.RaggedFeature(tf.string),
        "k": tf.io.FixedLenFeature([], tf.int64, DEFAULT_K),
        "candidate_item_id": tf.io.FixedLenFeature([], tf.string, ""),
    }

    def run(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.io.parse_example(inputs, read)
        item_ids = features["item_ids"].to_tensor(default_value="")
        # An int64 may not fit; more than all items is all of them.
        k = tf.cast(tf.clip_by_value(features["k"], 0, parts.catalogue.num_items), tf.int32)
        best = answer(parts, item_ids, k)
        scores = scores_of(parts, item_ids, features["candidate_item_id"][:, None])
        return {"classes": best["item_ids"], "scores": best["scores"], "outputs": scores[:, 0]}

    return run
