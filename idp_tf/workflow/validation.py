"""Validation NDCG@10 of a model while it trains, over fixed users and negatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from idp_tf.data.sequences import Sequences
from idp_tf.evaluation.models import model_scorer
from idp_tf.evaluation.negatives import sample_negatives
from idp_tf.evaluation.protocol import evaluate
from idp_tf.metrics import ndcg
from idp_tf.models import SequenceModel


def build_validation(
    model: SequenceModel,
    sequences: Sequences,
    item_ranges: npt.NDArray[np.int64] | None = None,
    *,
    max_users: int,
    negatives: int,
    seed: int,
) -> Callable[[], float]:
    """A function that gives the validation NDCG@10 over sampled negatives.

    Args:
        model: The model in training.
        sequences: Whole sequences; the test items are not looked at, except that a
            negative is never an item that the user touched at all.
        item_ranges: (num_users, 2), first and last item id of each user's candidates, as
            ``MergedDomains.item_ranges``; all items if ``None``.
        max_users: A seeded sample of this many users, if there are more.
        negatives: Sampled negatives of each.
        seed: Seed of both samples.
    """
    users = np.arange(sequences.num_users)
    if len(users) > max_users:
        chosen = np.random.default_rng(seed).choice(len(users), max_users, replace=False)
        users = np.sort(chosen)
    num_items = model.num_items
    if item_ranges is None:
        item_ranges = np.tile(np.array([1, num_items]), (sequences.num_users, 1))
    low, high = item_ranges[users].T
    drawn = sample_negatives(sequences, num_items, negatives, seed, low, high, users=users)
    protocol = f"sampled-{negatives}"

    def validate() -> float:
        ranks = evaluate(
            model_scorer(model, "validation"),
            sequences,
            split="validation",
            num_items=num_items,
            protocols=(protocol,),
            negatives=drawn,
            users=users,
            item_low=low,
            item_high=high,
        )
        return float(ndcg(ranks[protocol], 10))

    return validate
