"""The whole chain in one graph: titles of items never seen in, items of a catalogue out.

Title, text encoder, matched source items, generated embedding (eq. 8, 9), sequence encoder,
top k.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from idp_tf.data.schema import IdMap
from idp_tf.errors import ServingError
from idp_tf.transfer.generate import untitled_strings
from serving.export.catalogue import Catalogue
from serving.export.item_table import ItemTable
from serving.export.matching import TitleMatcher
from serving.export.parts import Recommends
from serving.export.ranking import Ranker, exact_ranker
from serving.export.recommender import checked_vectors
from serving.export.requests import (
    K_SPEC,
    answered,
    check_known,
    checked_width,
    last_known,
)
from serving.export.saving import Signature, texts_digest, write_saved_model
from serving.saved_models import SERVING_DEFAULT

COLD_START: Final = "cold_start"
COLD_START_SCANN: Final = "cold_start_scann"

_INPUTS: Final = (tf.TensorSpec((None, None), tf.string, name="titles"), K_SPEC)
_ABOUT: Final = (
    "Histories of titles in, items never seen in training, and the best items of the catalogue out."
)
_UNTITLED_USER: Final = (
    " of titles holds no title; send at least one in every row, or recommend by other means"
)


class EncodesVectors(Recommends, Protocol):
    """What the export needs of a model besides; every ``SequenceModel`` that reads ids alone."""

    def encode_vectors(self, vectors: Any, known: Any) -> Any:
        """(batch, length, dim) and (batch, length) bool, padded on the left -> (batch, dim)."""


class _Parts(NamedTuple):
    matcher: TitleMatcher
    model: EncodesVectors
    catalogue: Catalogue
    rank: Ranker


def export_cold_start(
    matcher: TitleMatcher,
    model: EncodesVectors,
    item_ids: IdMap,
    folder: str | Path,
    *,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the next version of ``cold_start``, or of ``cold_start_scann``, under ``folder``.

    The signature ``serving_default`` takes ``titles`` (batch, length) string, oldest first,
    with "" as padding anywhere, and ``k`` int32, a scalar or (batch,), as the recommender's.
    Each title gets the embedding that is generated for it (eq. 8, 9), of which the model reads
    the last ``max_length``. It gives ``item_ids`` (batch, k) string and ``scores`` (batch, k)
    float32, best first, and ``num_titles`` (batch,) int32. Titles that are items of the
    catalogue are not left out of the answer: nothing tells which they are.

    Args:
        matcher: Titles to embeddings; its retrieval is the form. The catalogue is ranked
            exactly in either.
        model: A ``SequenceModel`` that reads ids alone, its table from the same source
            embeddings.
        item_ids: External ids of the model's items 1 … num_items.
        folder: The export folder, ``<folder>/<name>/<version>/`` is made.
        about: What ``signature.json`` says of the model besides, such as its domain.

    Returns:
        The version's folder.

    Raises:
        ServingError: if ids, model and matcher do not fit, or a vector is not finite.
        SettingsError: if the model reads more than ids.
    """
    vectors = checked_vectors(model, item_ids)
    if matcher.dim != vectors.shape[1]:
        raise ServingError(
            f"generated embeddings are {matcher.dim} wide and the model's {vectors.shape[1]}",
            where="model",
            remedy="export the model whose table was made of these source embeddings",
        )
    # Refuses, in the model's words, what it could not read in the graph.
    model.encode_vectors(tf.zeros([1, 1, matcher.dim]), tf.constant([[True]]))
    items, catalogue = ItemTable(vectors), Catalogue(item_ids.external_ids)
    # ScaNN's op names its searcher by its own node: two of them in one graph can be taken for
    # one another where functions are not inlined. So the catalogue is ranked exactly.
    parts = _Parts(matcher, model, catalogue, exact_ranker(items))
    return write_saved_model(
        Path(folder) / (COLD_START_SCANN if matcher.method == "scann" else COLD_START),
        {SERVING_DEFAULT: _signature(parts)},
        about=_ABOUT,
        resources=catalogue.resources,
        notes={
            **(about or {}),
            "num_items": model.num_items,
            "max_length": model.max_length,
            "num_source_items": matcher.num_sources,
            "top_m": matcher.top_m,
            "norm": matcher.norm,
            "retrieval": matcher.method,
            "item_ids_sha256": texts_digest(item_ids.external_ids),
        },
    )


def _signature(parts: _Parts) -> Signature:
    return Signature(
        function=_recommend(parts),
        inputs=_INPUTS,
        about='The `k` best items for histories of titles, oldest first, "" as padding. `k` is one '
        "number, or one for each row; batching needs one for each, and then a row without a "
        "title is answered by nothing.",
        row={
            "titles": [["Acoustic guitar strings"]],
            "k": np.array([min(10, parts.model.num_items)], np.int32),
        },
        is_warmed_in_full=True,
    )


def _recommend(parts: _Parts) -> Callable[..., dict[str, tf.Tensor]]:
    def recommend(titles: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        width = checked_width(k, tf.shape(titles)[0], parts.model.num_items)
        titled = ~untitled_strings(titles)
        num_titles = tf.math.count_nonzero(titled, axis=1, dtype=tf.int32)
        with tf.control_dependencies([check_known(num_titles, k, _UNTITLED_USER)]):
            titles = tf.identity(titles)
        users = tf.where((num_titles > 0)[:, None], _users(parts, titles, titled), 0.0)
        nothing_seen = tf.zeros([tf.shape(titles)[0], 1], tf.int32)
        scores, rows = parts.rank(users, nothing_seen, width.most)
        scores = answered(scores, width, num_titles)
        return {
            "item_ids": parts.catalogue.names(rows, scores),
            "scores": scores,
            "num_titles": num_titles,
        }

    return recommend


def _users(parts: _Parts, titles: tf.Tensor, titled: tf.Tensor) -> tf.Tensor:
    """Strings (batch, length), and which of them are titles -> (batch, dim)."""
    # Places in the row, from 1, of the titles that are read: encoding costs most.
    columns = tf.where(titled, tf.range(1, tf.shape(titles)[1] + 1)[None], 0)
    columns = last_known(columns, parts.model.max_length)
    places = tf.where(columns > 0)
    read = tf.gather_nd(columns, places) - 1
    chosen = tf.gather_nd(titles, tf.stack([places[:, 0], tf.cast(read, tf.int64)], axis=1))
    shape = tf.concat([tf.shape(columns, tf.int64), [parts.matcher.dim]], axis=0)
    vectors = tf.scatter_nd(places, parts.matcher(chosen).embeddings, shape)
    vectors = tf.ensure_shape(vectors, (None, parts.model.max_length, parts.matcher.dim))
    return parts.model.encode_vectors(vectors, columns > 0)
