"""Every loss once more, one position at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Batch = Mapping[str, np.ndarray]


def mean_loss(name: str, hidden: Any, table: Any, batch: Batch) -> float:
    """The mean over the positions that have a positive.

    Args:
        name: Which loss.
        hidden: What the encoder gave, (batch, length, dim).
        table: The items' vectors, row 0 of padding.
        batch: Positives, and the loss's negatives.
    """
    hidden, table = (np.asarray(values, np.float64) for values in (hidden, table))
    values = [
        IN_NUMPY[name](table @ hidden[user, position], position, batch, user)
        for user, position in np.argwhere(batch["positive_ids"])
    ]
    return float(np.mean(values))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def bpr(score: np.ndarray, position: int, batch: Batch, user: int) -> float:
    ids = batch["positive_ids"][user, position], batch["negative_ids"][user, position]
    return -np.log(sigmoid(score[ids[0]] - score[ids[1]]))


def bce(score: np.ndarray, position: int, batch: Batch, user: int) -> float:
    ids = batch["positive_ids"][user, position], batch["negative_ids"][user, position]
    return -np.log(sigmoid(score[ids[0]])) - np.log(1 - sigmoid(score[ids[1]]))


def cross_entropy(score: np.ndarray, position: int, batch: Batch, user: int) -> float:
    exponents = np.exp(score[1:])
    return -np.log(exponents[batch["positive_ids"][user, position] - 1] / exponents.sum())


def sampled_softmax(score: np.ndarray, position: int, batch: Batch, user: int) -> float:
    positive = batch["positive_ids"][user, position]
    own = np.exp(score[positive]) / np.exp(batch["positive_log_q"][user, position])
    others = [
        np.exp(score[item]) / np.exp(log_q)
        for item, log_q in zip(
            batch["sampled_ids"][user], batch["sampled_log_q"][user], strict=True
        )
        if item != positive
    ]
    return -np.log(own / (own + sum(others)))


def gbce(score: np.ndarray, position: int, batch: Batch, user: int) -> float:
    positive, t = batch["positive_ids"][user, position], 0.75
    sampled = batch["sampled_ids"][user]
    rate = min(len(sampled) / (batch["num_candidates"][user] - 1), 1)
    power = rate * (t * (1 - 1 / rate) + 1 / rate)
    score = score + np.log(power / len(sampled))
    against = [np.log(1 - sigmoid(score[item])) for item in sampled if item != positive]
    return -(np.log(sigmoid(score[positive]) ** power) + sum(against)) / (len(sampled) + 1)


IN_NUMPY = {
    "bpr": bpr,
    "bce": bce,
    "cross-entropy": cross_entropy,
    "sampled-softmax": sampled_softmax,
    "gbce": gbce,
}
