"""Validation NDCG@10 of a model while it trains, over fixed users and negatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from idp_tf.data.domain import MergedDomains
from idp_tf.data.sequences import Sequences
from idp_tf.evaluation.models import model_scorer
from idp_tf.evaluation.negatives import sample_negatives
from idp_tf.evaluation.protocol import evaluate
from idp_tf.metrics import ndcg
from idp_tf.models import SequenceModel


@dataclass(frozen=True)
class ItemRanges:
    """The first and the last item id of each user's own domain, each (num_users,)."""

    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]

    @classmethod
    def of_domains(cls, merged: MergedDomains) -> ItemRanges:
        """Every user's own domain among merged ones."""
        users = [domain.sequences.num_users for domain in merged.domains]
        low, high = merged.item_offsets[:-1] + 1, merged.item_offsets[1:]
        return cls(np.repeat(low, users), np.repeat(high, users))

    @classmethod
    def of_all(cls, num_items: int, num_users: int) -> ItemRanges:
        """All items for every user."""
        return cls(np.ones(num_users, np.int64), np.full(num_users, num_items, np.int64))


def build_validation(
    model: SequenceModel,
    sequences: Sequences,
    ranges: ItemRanges,
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
        ranges: Where each user's negatives come from.
        max_users: A seeded sample of this many users, if there are more.
        negatives: Sampled negatives of each.
        seed: Seed of both samples.
    """
    users = np.arange(sequences.num_users)
    if len(users) > max_users:
        chosen = np.random.default_rng(seed).choice(len(users), max_users, replace=False)
        users = np.sort(chosen)
    low, high = ranges.low[users], ranges.high[users]
    num_items = model.num_items
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
