"""What a recommender can be asked: its functions, by the keys of their signatures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import tensorflow as tf

from idp_tf.data.schema import PAD_ID
from serving.export.parts import Parts, num_known
from serving.export.requests import (
    K_SPEC,
    NO_SCORE,
    answered,
    check_known,
    check_rows,
    checked_width,
)
from serving.export.saving import Signature
from serving.saved_models import SERVING_DEFAULT

RECOMMEND: Final = "recommend"
SCORE: Final = "score"

_UNKNOWN_USER: Final = (
    " of item_ids holds no known item id; send at least one id of the catalogue in every row, "
    "or recommend by other means to users without a history"
)
_WHAT_K_IS: Final = (
    "`k` is one number, or one for each row, as batching needs it. One for each row is cut to the "
    "catalogue, and a row without a known id is answered by nothing; with one number both are "
    'errors. The tail of a row that has fewer items is "" with the score -inf.'
)


def _ids(name: str) -> tf.TensorSpec:
    return tf.TensorSpec((None, None), tf.string, name=name)


def recommender_signatures(parts: Parts, example: str) -> dict[str, Signature]:
    """The signatures of a recommender.

    Args:
        parts: What they share.
        example: An item id, for example requests.
    """
    row = {"item_ids": [[example]], "k": np.array([min(10, parts.catalogue.num_items)], np.int32)}
    return {
        SERVING_DEFAULT: Signature(
            function=_recommend(parts),
            inputs=(_ids("item_ids"), K_SPEC),
            about='The `k` best items for histories, oldest item first, "" as padding. '
            + _WHAT_K_IS,
            row=row,
            is_warmed_in_full=True,
        ),
        RECOMMEND: Signature(
            function=_recommend_among(parts),
            inputs=(
                *(_ids("item_ids"), K_SPEC),
                *(_ids("exclude_item_ids"), _ids("allowed_item_ids")),
            ),
            about="The same, without `exclude_item_ids`, and of `allowed_item_ids` alone where a "
            'row names any: a row of "" allows all, one that names no known item none. One row '
            "of them may stand for all. " + _WHAT_K_IS,
            row={**row, "exclude_item_ids": [[""]], "allowed_item_ids": [[""]]},
        ),
        SCORE: Signature(
            function=_score(parts),
            inputs=(_ids("item_ids"), _ids("candidate_item_ids")),
            about='Scores of candidates, those of the history too; -inf for "", unknown ones, and '
            "rows without a known id in the history.",
            row={"item_ids": row["item_ids"], "candidate_item_ids": [[example, ""]]},
        ),
    }


def _recommend(parts: Parts) -> Callable[..., dict[str, tf.Tensor]]:
    def recommend(item_ids: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(parts, item_ids, k)

    return recommend


def _recommend_among(parts: Parts) -> Callable[..., dict[str, tf.Tensor]]:
    def recommend(
        item_ids: tf.Tensor,
        k: tf.Tensor,
        exclude_item_ids: tf.Tensor,
        allowed_item_ids: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        checks = [
            check_rows(exclude_item_ids, item_ids, "exclude_item_ids"),
            check_rows(allowed_item_ids, item_ids, "allowed_item_ids", or_one=True),
        ]
        with tf.control_dependencies(checks):
            excluded = parts.catalogue.lookup(exclude_item_ids)
            allowed = parts.catalogue.mask(allowed_item_ids)
        return answer(parts, item_ids, k, excluded, allowed)

    return recommend


def _score(parts: Parts) -> Callable[..., dict[str, tf.Tensor]]:
    def score(item_ids: tf.Tensor, candidate_item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        check = check_rows(candidate_item_ids, item_ids, "candidate_item_ids")
        with tf.control_dependencies([check]):
            candidates = tf.identity(candidate_item_ids)
        return {"scores": scores_of(parts, item_ids, candidates)}

    return score


def answer(
    parts: Parts,
    item_ids: tf.Tensor,
    k: tf.Tensor,
    excluded: tf.Tensor | None = None,
    allowed: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """The outputs of ``serving_default``.

    Args:
        parts: What the signatures share.
        item_ids: Histories, (batch, length) string.
        k: A scalar, or (batch,).
        excluded: Internal ids that are left out besides, (batch, any).
        allowed: Which items may be given, (batch or 1, num_items) bool.
    """
    width = checked_width(k, tf.shape(item_ids)[0], parts.catalogue.num_items)
    history = parts.catalogue.lookup(item_ids)
    known = num_known(history)
    with tf.control_dependencies([check_known(known, k, _UNKNOWN_USER)]):
        history = tf.identity(history)
    left_out = history if excluded is None else tf.concat([history, excluded], axis=1)
    scores, rows = parts.rank(parts.users(history), left_out, width.most, allowed)
    scores = answered(scores, width, known)
    return {
        "item_ids": parts.catalogue.names(rows, scores),
        "scores": scores,
        "num_known": known,
    }


def scores_of(parts: Parts, item_ids: tf.Tensor, candidate_item_ids: tf.Tensor) -> tf.Tensor:
    """Scores of candidates (batch, width): (batch, length) and (batch, width) -> that shape."""
    history = parts.catalogue.lookup(item_ids)
    candidates = parts.catalogue.lookup(candidate_item_ids)
    vectors = parts.items.rows(tf.maximum(candidates - 1, 0))
    scores = tf.einsum("bd,bcd->bc", parts.users(history), vectors)
    known = (candidates != PAD_ID) & (num_known(history) > 0)[:, None]
    return tf.where(known, scores, NO_SCORE)
