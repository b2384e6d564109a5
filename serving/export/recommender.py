"""The recommender as a SavedModel: item ids in, the best unseen item ids out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import ServingError
from serving.export.catalogue import Catalogue
from serving.export.examples import EXAMPLES, example_signature, example_views
from serving.export.item_table import ItemTable, TableDtype
from serving.export.parts import Parts, Recommends, user_encoder
from serving.export.quantisation import quantisation_notes
from serving.export.ranking import exact_ranker, scann_ranker
from serving.export.recommender_signatures import recommender_signatures
from serving.export.saving import texts_digest, write_saved_model
from serving.saved_models import TITLES_FILE

RECOMMENDER: Final = "recommender"
RECOMMENDER_SCANN: Final = "recommender_scann"

_ABOUT: Final = (
    "Histories of item ids in, the best items that are not in them out. Unknown ids are skipped."
)


def export_recommender(
    model: Recommends,
    item_ids: IdMap,
    folder: str | Path,
    *,
    scann: bool = False,
    table: TableDtype = "float32",
    sequences: Sequences | None = None,
    titles: Sequence[str] | None = None,
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

    The signature ``recommend`` takes ``exclude_item_ids`` (batch, any), which are left out
    too, and ``allowed_item_ids`` (batch or 1, any) besides, a shop's stock: where a row names
    any, unknown ones too, only items that it names are given. ``score`` takes ``item_ids`` and
    ``candidate_item_ids`` (batch, any) and gives their ``scores`` of the same shape, those of
    the history too; -inf for "", unknown candidates, and rows without a known id.

    ``classify`` and ``regress`` read tf.Examples, for the RPCs of these names and
    MultiInference: ``item_ids``, and ``k`` (10 if it is not given) or ``candidate_item_id``.

    The ScaNN form answers from an approximate index with the same exact scores, and only
    loads where ScaNN's ops are; a stock TF-Serving takes the exact form. A row that allows a
    part of the catalogue is answered exactly.

    Args:
        model: A ``SequenceModel``.
        item_ids: External ids of the model's items 1 … num_items.
        folder: The export folder, ``<folder>/<name>/<version>/`` is made.
        scann: Which of the two forms.
        table: What the item vectors are stored as; see ``ItemTable``. A history is read from
            the same table where the model reads ids alone.
        sequences: Users of the domain, over whom ``signature.json`` tells how much of the top
            10 a quantised table keeps (``overlap_at_10``).
        titles: The items' titles, in the order of the ids: ``titles.json`` in ``assets.extra``,
            for the page of ``idp-tf serve --ui``. The graph does not hold them.
        about: What ``signature.json`` says of the model besides, such as its domain.

    Returns:
        The version's folder.

    Raises:
        ServingError: if ids and model do not fit, or a vector is not finite.
        SettingsError: if there are too few items for ScaNN.
    """
    vectors = checked_vectors(model, item_ids)
    items, catalogue = ItemTable(vectors, table), Catalogue(item_ids.external_ids)
    rank = scann_ranker(items, vectors) if scann else exact_ranker(items)
    parts = Parts(user_encoder(model, items), model.max_length, catalogue, items, rank)
    example = item_ids.external_ids[0]
    return write_saved_model(
        Path(folder) / (RECOMMENDER_SCANN if scann else RECOMMENDER),
        {
            **recommender_signatures(parts, example),
            EXAMPLES: example_signature(parts, example),
        },
        views=example_views(parts, example),
        about=_ABOUT,
        resources=catalogue.resources,
        notes={
            **(about or {}),
            "num_items": model.num_items,
            "max_length": model.max_length,
            "retrieval": "scann" if scann else "exact",
            **quantisation_notes(model, vectors, items, sequences),
            "item_ids_sha256": texts_digest(item_ids.external_ids),
        },
        files={} if titles is None else {TITLES_FILE: _titles_text(item_ids, titles)},
    )


def _titles_text(item_ids: IdMap, titles: Sequence[str]) -> str:
    if len(titles) != item_ids.size:
        raise ServingError(f"{len(titles)} titles for {item_ids.size} items", where="titles")
    return json.dumps(list(zip(item_ids.external_ids, titles, strict=True)), ensure_ascii=False)


def checked_vectors(model: Recommends, item_ids: IdMap) -> npt.NDArray[np.float32]:
    """A model's item vectors, (num_items, dim), after checks that they are those of the ids.

    Raises:
        ServingError: if they are not, or one is not finite.
    """
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
