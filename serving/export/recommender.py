"""The recommender as a SavedModel: item ids in, the best unseen item ids out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from idp_tf.data.schema import PAD_ID, IdMap
from idp_tf.errors import ServingError
from serving.export.ranking import Ranker, exact_ranker, scann_ranker
from serving.saved_models import write_saved_model

RECOMMENDER: Final = "recommender"
RECOMMENDER_SCANN: Final = "recommender_scann"

_INPUTS: Final = (
    tf.TensorSpec((None, None), tf.string, name="item_ids"),
    tf.TensorSpec((), tf.int32, name="k"),
)


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
    first, with "" as padding anywhere, and ``k``, a scalar int32. It gives ``item_ids``
    (batch, k) string and ``scores`` (batch, k) float32, best first, and ``num_known``
    (batch,) int32. Unknown ids are skipped. Every known id of the history is left out of
    the answer; the last ``max_length`` of them are read by the encoder. Where fewer than
    ``k`` items are left, the tail is "" with the score -inf. Equal scores: the item that
    stands first in ``item_ids`` comes first.

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
    ranker = scann_ranker(vectors) if scann else exact_ranker(vectors)
    function, resources = _build_function(model, item_ids.external_ids, ranker)
    first = item_ids.external_ids[0]
    return write_saved_model(
        Path(folder) / (RECOMMENDER_SCANN if scann else RECOMMENDER),
        function,
        _INPUTS,
        resources=resources,
        warmup=[
            {"item_ids": [[first]], "k": np.int32(1)},
            {"item_ids": [[first, ""], ["", first]], "k": np.int32(min(10, model.num_items))},
        ],
        notes={
            **(about or {}),
            "num_items": model.num_items,
            "max_length": model.max_length,
            "retrieval": "scann" if scann else "exact",
        },
    )


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


def _build_function(
    model: Recommends, external_ids: list[str], ranker: Ranker
) -> tuple[Callable[..., dict[str, tf.Tensor]], list[Any]]:
    num_items, max_length = model.num_items, model.max_length
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(external_ids), tf.range(1, num_items + 1, dtype=tf.int32)
        ),
        default_value=PAD_ID,
    )

    def recommend(item_ids: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        history = table.lookup(item_ids)
        num_known = tf.math.count_nonzero(history, axis=1, dtype=tf.int32)
        with tf.control_dependencies([_check_k(k, num_items), _check_known(num_known)]):
            k = tf.identity(k)
            history = tf.identity(history)
        users = model.encode_users(last_known(history, max_length))
        scores, rows = ranker(users, history, k)
        # Row 0 of the names stands for "no item".
        names = tf.gather(tf.constant(["", *external_ids]), rows + 1)
        return {
            "item_ids": tf.where(tf.math.is_finite(scores), names, ""),
            "scores": scores,
            "num_known": num_known,
        }

    return recommend, [table]


def last_known(history: tf.Tensor, max_length: int) -> tf.Tensor:
    """The last ``max_length`` known ids of each row in their order, padded on the left.

    Args:
        history: Internal ids, 0 where there is none, anywhere in the row; (batch, length).
        max_length: The width of the answer.

    Returns:
        Shape (batch, max_length), int32.
    """
    # A stable sort by "known" moves the gaps to the front and keeps the order.
    order = tf.argsort(tf.cast(history != PAD_ID, tf.int32), axis=1, stable=True)
    packed = tf.gather(history, order, batch_dims=1)
    padded = tf.pad(packed, [[0, 0], [max_length, 0]], constant_values=PAD_ID)
    return tf.ensure_shape(padded[:, -max_length:], (None, max_length))


def _check_k(k: tf.Tensor, num_items: int) -> tf.Operation:
    message = tf.strings.join(
        [f"k must be between 1 and {num_items}, got ", tf.strings.as_string(k)]
    )
    return tf.debugging.Assert((k >= 1) & (k <= num_items), [message])


def _check_known(num_known: tf.Tensor) -> tf.Operation:
    unknown = num_known < 1
    # The 0 at the end is for a batch of no rows, over which there is no argmax.
    flags = tf.concat([tf.cast(unknown, tf.int32), [0]], axis=0)
    row = tf.argmax(flags, output_type=tf.int32)
    message = tf.strings.join(
        [
            "row ",
            tf.strings.as_string(row),
            " of item_ids holds no known item id; send at least one id of the catalogue in "
            "every row, or recommend by other means to users without a history",
        ]
    )
    return tf.debugging.Assert(~tf.reduce_any(unknown), [message])
