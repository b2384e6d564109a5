"""Validation NDCG@10 of whatever is in training, over fixed users and negatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from idp_tf.data.sequences import Sequences
from idp_tf.evaluation.negatives import sample_negatives
from idp_tf.evaluation.protocol import evaluate
from idp_tf.evaluation.ranking import Scorer
from idp_tf.metrics import ndcg


def build_validation(
    scorer: Callable[[], Scorer],
    sequences: Sequences,
    item_ranges: npt.NDArray[np.int64] | None = None,
    *,
    num_items: int,
    max_users: int,
    negatives: int,
    seed: int,
) -> Callable[[], float]:
    """A function that gives the validation NDCG@10 over sampled negatives.

    Args:
        scorer: Gives what is in training, as it is at that moment.
        sequences: Whole sequences; the test items are not looked at, except that a
            negative is never an item that the user touched at all.
        item_ranges: (num_users, 2), first and last item id of each user's candidates, as
            ``MergedDomains.item_ranges``; all items if ``None``.
        num_items: The number of items.
        max_users: A seeded sample of this many users, if there are more.
        negatives: Sampled negatives of each.
        seed: Seed of both samples.
    """
    users = np.arange(sequences.num_users)
    if len(users) > max_users:
        chosen = np.random.default_rng(seed).choice(len(users), max_users, replace=False)
        users = np.sort(chosen)
    if item_ranges is None:
        item_ranges = np.tile(np.array([1, num_items]), (sequences.num_users, 1))
    low, high = item_ranges[users].T
    drawn = sample_negatives(sequences, num_items, negatives, seed, low, high, users=users)
    protocol = f"sampled-{negatives}"

    def validate() -> float:
        ranks = evaluate(
            scorer(),
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
