"""The recommender as a SavedModel: item ids in, the best unseen item ids out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from idp_tf.data.schema import IdMap
from idp_tf.errors import ServingError
from serving.export.catalogue import Catalogue
from serving.export.item_table import ItemTable
from serving.export.ranking import Ranker, exact_ranker, scann_ranker
from serving.export.requests import (
    K_SPEC,
    answered,
    check_known,
    checked_width,
    last_known,
)
from serving.saved_models import SERVING_DEFAULT, Signature, texts_digest, write_saved_model

RECOMMENDER: Final = "recommender"
RECOMMENDER_SCANN: Final = "recommender_scann"

_ABOUT: Final = (
    "Histories of item ids in, the best items that are not in them out. Unknown ids are skipped."
)
_UNKNOWN_USER: Final = (
    " of item_ids holds no known item id; send at least one id of the catalogue in every row, "
    "or recommend by other means to users without a history"
)

_HISTORY: Final = tf.TensorSpec((None, None), tf.string, name="item_ids")


class Recommends(Protocol):
    """What an export needs of a model; every ``SequenceModel`` has it."""

    max_length: int
    num_items: int

    def encode_users(self, item_ids: Any) -> Any:
        """(batch, length) int32, padded on the left -> (batch, dim)."""

    def item_vectors(self) -> Any:
        """(num_items + 1, dim); row 0 is padding."""


def export_recommender(
    model: Recommends,
    item_ids: IdMap,
    folder: str | Path,
    *,
    scann: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the next version of ``recommender``, or of ``recommender_scann``, under ``folder``.

    The signature ``serving_default`` takes ``item_ids`` (batch, length) string, oldest
    first, with "" as padding anywhere, and ``k`` int32. It gives ``item_ids``
    (batch, k) string and ``scores`` (batch, k) float32, best first, and ``num_known``
    (batch,) int32. Unknown ids are skipped. Every known id of the history is left out of
    the answer; the last ``max_length`` of them are read by the encoder. Where fewer than
    ``k`` items are left, the tail is "" with the score -inf. Equal scores: the item that
    stands first in ``item_ids`` comes first.

    ``k`` is a scalar, or (batch,): one for each row, which TF-Serving's batching needs.
    The answer is as wide as the greatest of them. With a scalar, a ``k`` that is no number
    of items and a row without a known id are errors; for each row they are not, as one row
    must not fail others of its batch: ``k`` is cut to the catalogue, and that row is "".

    The ScaNN form answers from an approximate index with the same exact scores, and only
    loads where ScaNN's ops are; a stock TF-Serving takes the exact form.

    Args:
        model: A ``SequenceModel``.
        item_ids: External ids of the model's items 1 … num_items.
        folder: The export folder, ``<folder>/<name>/<version>/`` is made.
        scann: Which of the two forms.
        about: What ``signature.json`` says of the model besides, such as its domain.

    Returns:
        The version's folder.

    Raises:
        ServingError: if ids and model do not fit, or a vector is not finite.
        SettingsError: if there are too few items for ScaNN.
    """
    vectors = _item_vectors(model, item_ids)
    items, catalogue = ItemTable(vectors), Catalogue(item_ids.external_ids)
    rank = scann_ranker(items, vectors) if scann else exact_ranker(items)
    parts = _Parts(model, catalogue, rank)
    return write_saved_model(
        Path(folder) / (RECOMMENDER_SCANN if scann else RECOMMENDER),
        _signatures(parts, item_ids.external_ids[0]),
        about=_ABOUT,
        resources=catalogue.resources,
        notes={
            **(about or {}),
            "num_items": model.num_items,
            "max_length": model.max_length,
            "retrieval": "scann" if scann else "exact",
            "item_ids_sha256": texts_digest(item_ids.external_ids),
        },
    )


class _Parts(NamedTuple):
    """What the signatures share."""

    model: Recommends
    catalogue: Catalogue
    rank: Ranker


def _item_vectors(model: Recommends, item_ids: IdMap) -> npt.NDArray[np.float32]:
    vectors = np.asarray(model.item_vectors(), np.float32)[1:]
    if not len(vectors) == model.num_items == item_ids.size:
        raise ServingError(
            f"{item_ids.size} item ids for a model of {model.num_items} items "
            f"with {len(vectors)} vectors",
            where="item_ids",
            remedy="export the model with the ids of the domain that it was trained on",
        )
    if not np.isfinite(vectors).all():
        raise ServingError(
            "an item vector holds NaN or infinity", remedy="train again with a lower learning rate"
        )
    return vectors


def _signatures(parts: _Parts, example: str) -> dict[str, Signature]:
    k = np.array([min(10, parts.model.num_items)], np.int32)
    return {
        SERVING_DEFAULT: Signature(
            function=_recommend(parts),
            inputs=(_HISTORY, K_SPEC),
            about='The `k` best items for histories, oldest item first, "" as padding. `k` is one '
            "number, or one for each row; batching needs one for each.",
            row={"item_ids": [[example]], "k": k},
            is_warmed_in_full=True,
        ),
    }


def _recommend(parts: _Parts) -> Callable[..., dict[str, tf.Tensor]]:
    def recommend(item_ids: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        return _answer(parts, item_ids, k)

    return recommend


def _answer(parts: _Parts, item_ids: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
    width = checked_width(k, tf.shape(item_ids)[0], parts.model.num_items)
    history = parts.catalogue.lookup(item_ids)
    num_known = tf.math.count_nonzero(history, axis=1, dtype=tf.int32)
    with tf.control_dependencies([check_known(num_known, k, _UNKNOWN_USER)]):
        history = tf.identity(history)
    users = _users(parts, history, num_known)
    scores, rows = parts.rank(users, history, width.most)
    scores = answered(scores, width, num_known)
    return {
        "item_ids": parts.catalogue.names(rows, scores),
        "scores": scores,
        "num_known": num_known,
    }


def _users(parts: _Parts, history: tf.Tensor, num_known: tf.Tensor) -> tf.Tensor:
    users = parts.model.encode_users(last_known(history, parts.model.max_length))
    # An encoder may make anything of no items at all.
    return tf.where((num_known > 0)[:, None], users, 0.0)
