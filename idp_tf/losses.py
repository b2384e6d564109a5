"""Training losses of the sequence models (tf_keras): one switch, ``loss=``, for all of them.

Each is a mean over the positions of a batch, where the papers sum, so that the learning rate
does not depend on the batch's size. Under a synchronous strategy the replicas' results add up
to the mean over the whole batch, as their gradients are added up, however its positions fall
to the replicas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final, Protocol

import tensorflow as tf

from idp_tf.data.schema import PAD_ID
from idp_tf.data.training_negatives import Negatives
from idp_tf.errors import SettingsError

Batch = dict[str, tf.Tensor]

# Never the best of anything, and no NaN where there is nothing else.
_EXCLUDED: Final = -1e9

GBCE_CALIBRATION: Final = 0.75
"""``t`` of gBCE: 0 is binary cross-entropy, 1 takes all overconfidence away."""


class Items(Protocol):
    """Where a loss finds the vectors of items; a ``SequenceModel`` is one."""

    def vectors_of(self, item_ids: tf.Tensor) -> tf.Tensor:
        """Vectors of some items: ids of any shape -> (…, dim)."""
        ...

    def item_vectors(self) -> tf.Tensor:
        """Vectors of all items, (num_items + 1, dim); row 0 is padding."""
        ...


class ItemLoss(ABC):
    """A loss at every position of a batch that has a positive item.

    Call arguments:
        hidden: The encoder's outputs, (batch, length, dim).
        batch: ``positive_ids`` (batch, length), 0 where nothing is to be learned, and what
            ``negatives`` names (``TrainingBatches``).
        items: Where item vectors are found.

    Returns:
        A scalar; 0 if no position has a positive.

    Attributes:
        name: What settings and logs call it.
        negatives: What a batch must hold for it.
    """

    name: ClassVar[str]
    negatives: ClassVar[Negatives]

    @abstractmethod
    def __call__(self, hidden: tf.Tensor, batch: Batch, items: Items) -> tf.Tensor:
        """The mean loss of the batch; see the class."""


class BPR(ItemLoss):
    """Bayesian Personalized Ranking, ``-log sigmoid(positive - negative)`` (eq. 3).

    Reference: Rendle et al. 2009, https://arxiv.org/abs/1205.2618.
    """

    name = "bpr"
    negatives = "position"

    def __call__(self, hidden: tf.Tensor, batch: Batch, items: Items) -> tf.Tensor:
        """The mean over positions; see ``ItemLoss``."""
        positive, negative = _pair_scores(hidden, batch, items)
        return _masked_mean(tf.nn.softplus(negative - positive), batch)


class BinaryCrossEntropy(ItemLoss):
    """SASRec's own, ``-log sigmoid(positive) - log(1 - sigmoid(negative))``.

    Reference: Kang and McAuley 2018, section III.E, https://arxiv.org/abs/1808.09781.
    """

    name = "bce"
    negatives = "position"

    def __call__(self, hidden: tf.Tensor, batch: Batch, items: Items) -> tf.Tensor:
        """The mean over positions; see ``ItemLoss``."""
        positive, negative = _pair_scores(hidden, batch, items)
        return _masked_mean(tf.nn.softplus(-positive) + tf.nn.softplus(negative), batch)


class CrossEntropy(ItemLoss):
    """Softmax over the whole catalogue; its gradient touches every item.

    Takes ``positions * num_items`` scores of memory: for catalogues of some ten thousand items.

    Reference: Klenitskiy and Vasilev 2023, https://arxiv.org/abs/2309.07602.
    """

    name = "cross-entropy"
    negatives = "none"

    def __call__(self, hidden: tf.Tensor, batch: Batch, items: Items) -> tf.Tensor:
        """The mean over positions; see ``ItemLoss``."""
        real = tf.not_equal(batch["positive_ids"], PAD_ID)
        # Padding is no class: item i is class i - 1.
        scores = tf.matmul(
            tf.boolean_mask(hidden, real), items.item_vectors()[1:], transpose_b=True
        )
        classes = tf.boolean_mask(batch["positive_ids"], real) - 1
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, scores)
        return mean_over_replicas(losses, tf.ones_like(losses))


class SampledSoftmax(ItemLoss):
    """Softmax over the positive and items drawn by popularity, corrected by ``-log q``.

    A drawn item that is the position's positive is left out of that position's softmax.

    Reference: Bengio and Senécal 2008; Yi et al. 2019, "Sampling-bias-corrected neural
    modeling for large corpus item recommendations", eq. 3.
    """

    name = "sampled-softmax"
    negatives = "popular"

    def __call__(self, hidden: tf.Tensor, batch: Batch, items: Items) -> tf.Tensor:
        """The mean over positions; see ``ItemLoss``."""
        positive, sampled = _sampled_scores(hidden, batch, items)
        positive -= tf.cast(batch["positive_log_q"], positive.dtype)
        sampled -= tf.cast(batch["sampled_log_q"], sampled.dtype)[:, None]
        sampled = tf.where(_is_positive(batch), tf.cast(_EXCLUDED, sampled.dtype), sampled)
        scores = tf.concat([positive[..., None], sampled], axis=-1)
        return _masked_mean(tf.reduce_logsumexp(scores, axis=-1) - positive, batch)


class GeneralizedBCE(ItemLoss):
    """gSASRec's: binary cross-entropy whose positive's probability is raised to a power.

    ``-beta log sigmoid(positive) - sum log(1 - sigmoid(negative))`` over n uniformly drawn
    items, divided by n + 1, with ``beta = a (t (1 - 1/a) + 1/a)``, ``a = n / (candidates - 1)``:
    the fewer of all candidates are drawn, the more one would overrate the positive.

    A user's positions share their n items, where gSASRec draws n for each position; an item
    that is the position's positive does not count as negative. Scores are read as logits above
    ``log(beta / n)``, where positives and negatives are in balance. That changes no ranking, and
    spares the model from learning first how rare positives are: counted from 0, as gSASRec does,
    SASRec on ml-1m is still at 0.021 of NDCG@10 after 35 epochs, and so at 0.099 after 15.

    Reference: Petrov and Macdonald 2023, eq. 8 and 10, https://arxiv.org/abs/2308.07192.
    """

    name = "gbce"
    negatives = "user"

    def __call__(self, hidden: tf.Tensor, batch: Batch, items: Items) -> tf.Tensor:
        """The mean over positions; see ``ItemLoss``."""
        positive, sampled = _sampled_scores(hidden, batch, items)
        count = tf.cast(tf.shape(sampled)[-1], positive.dtype)
        others = tf.cast(tf.maximum(batch["num_candidates"], 2) - 1, positive.dtype)
        rate = tf.minimum(count / others, 1.0)
        power = rate * (GBCE_CALIBRATION * (1 - 1 / rate) + 1 / rate)
        balance = tf.math.log(power / count)[:, None]
        positive, sampled = positive + balance, sampled + balance[..., None]
        against = tf.where(_is_positive(batch), tf.zeros_like(sampled), tf.nn.softplus(sampled))
        losses = power[:, None] * tf.nn.softplus(-positive) + tf.reduce_sum(against, axis=-1)
        return _masked_mean(losses / (count + 1), batch)


LOSSES: Final[dict[str, type[ItemLoss]]] = {
    loss.name: loss
    for loss in (BPR, BinaryCrossEntropy, CrossEntropy, SampledSoftmax, GeneralizedBCE)
}
"""Every loss, by its name in settings."""


def build_loss(name: str) -> ItemLoss:
    """A loss by its name.

    Raises:
        SettingsError: for an unknown name; the message lists the known ones.

    Example:
        >>> build_loss("cross-entropy").negatives
        'none'
    """
    if name not in LOSSES:
        raise SettingsError(
            f"unknown loss {name!r}", where="loss", remedy=f"known: {', '.join(LOSSES)}"
        )
    return LOSSES[name]()


def _masked_mean(losses: tf.Tensor, batch: Batch) -> tf.Tensor:
    """The mean over the positions that have a positive.

    Args:
        losses: (batch, length).
        batch: ``positive_ids`` (batch, length).

    Returns:
        A scalar; 0 if there is none.
    """
    real = tf.not_equal(batch["positive_ids"], PAD_ID)
    return mean_over_replicas(losses, tf.cast(real, losses.dtype))


def mean_over_replicas(losses: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """What replicas add up to the weighted mean of all their losses.

    Args:
        losses: Any shape.
        weights: The same shape.
    """
    count = _sum_over_replicas(tf.reduce_sum(weights))
    return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), count)


def _pair_scores(hidden: tf.Tensor, batch: Batch, items: Items) -> list[tf.Tensor]:
    """Scores of each position's positive and negative, both (batch, length)."""
    # One look-up for both: one gradient of the table instead of two.
    pairs = items.vectors_of(tf.stack([batch["positive_ids"], batch["negative_ids"]]))
    return tf.unstack(tf.reduce_sum(hidden[None] * pairs, axis=-1))


def _sampled_scores(hidden: tf.Tensor, batch: Batch, items: Items) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores of positives (batch, length) and of the user's sample (batch, length, n)."""
    positive = tf.reduce_sum(hidden * items.vectors_of(batch["positive_ids"]), axis=-1)
    return positive, tf.matmul(hidden, items.vectors_of(batch["sampled_ids"]), transpose_b=True)


def _is_positive(batch: Batch) -> tf.Tensor:
    """Which drawn items are the position's positive, (batch, length, n)."""
    return tf.equal(batch["sampled_ids"][:, None], batch["positive_ids"][..., None])


def _sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return value
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, value)
