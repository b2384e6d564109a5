"""Losses (tf_keras) that bring representations together or keep them apart.

The contrastive ones are UniSRec's: Hou et al. 2022, "Towards Universal Sequence Representation
Learning for Recommender Systems", https://arxiv.org/abs/2206.05941, and its official code. The
orthogonality is DACDR's (``idp_tf.layers.DomainClassifier``).
"""

from __future__ import annotations

from typing import Final

import tensorflow as tf

from idp_tf.data.schema import PAD_ID
from idp_tf.losses import Batch, ItemLoss, Items, mean_over_replicas

TEMPERATURE: Final = 0.07
SEQUENCE_WEIGHT: Final = 1e-3

# Never the best of anything, and no NaN where there is nothing else.
_EXCLUDED: Final = -1e9


def in_batch_contrastive(
    queries: tf.Tensor,
    keys: tf.Tensor,
    positive_ids: tf.Tensor,
    temperature: float = TEMPERATURE,
    groups: tf.Tensor | None = None,
) -> tf.Tensor:
    """``-log(exp(q_i k_i / t) / sum_j exp(q_i k_j / t))`` over vectors of length 1.

    With the vectors of the next items as keys it is UniSRec's sequence-item loss, with those
    of the same sequences augmented its sequence-sequence loss. Negatives are the
    other rows of the batch, from whatever domain, but for those with the same next item.

    The official code means to leave the latter out too, but sets their score to 0 before the
    exponential, by which each still adds 1 to the sum; here they add nothing. Without such rows
    the two are equal.

    Args:
        queries: Users, (batch, dim).
        keys: What each is to be near to, (batch, dim).
        positive_ids: Each user's next item, (batch,), in ids that are unique over the
            domains; a row with 0 has none and counts nowhere.
        temperature: ``t``.
        groups: (batch,), such as the user of each row: those of one group are no negatives of
            one another. Each row is its own group if not given.

    Returns:
        The mean over rows, a scalar; 0 if no row counts.

    Example:
        >>> vectors = tf.constant([[1.0, 0.0], [0.0, 1.0]])
        >>> loss = in_batch_contrastive(vectors, vectors, tf.constant([3, 4]), temperature=1.0)
        >>> round(float(loss), 4)
        0.3133
    """
    # Reduced precision can't hold what similarities become at this temperature.
    queries, keys = (tf.math.l2_normalize(tf.cast(x, tf.float32), axis=1) for x in (queries, keys))
    scores = tf.matmul(queries, keys, transpose_b=True) / temperature
    real = tf.not_equal(positive_ids, PAD_ID)
    others = ~tf.eye(tf.shape(positive_ids)[0], dtype=tf.bool)
    same = tf.equal(positive_ids[:, None], positive_ids[None])
    if groups is not None:
        same |= tf.equal(groups[:, None], groups[None])
    excluded = others & (same | ~real[None])
    losses = tf.reduce_logsumexp(tf.where(excluded, _EXCLUDED, scores), axis=1)
    losses -= tf.linalg.diag_part(scores)
    return mean_over_replicas(losses, tf.cast(real, losses.dtype))


class InBatchContrastive(ItemLoss):
    """UniSRec's sequence-item loss, at every position that has a positive.

    The official code has every prefix of a history as a row of some batch. Here a causal
    encoder gives all prefixes of a user at once, so rows that would seldom meet there are in
    one batch; positions of one user are therefore no negatives of one another, as what a user
    takes later is no mistake.

    A positive whose vector is all zeros, such as that of an item without a title, has nothing
    to be near to and counts nowhere.

    Arguments and result: ``ItemLoss``. Takes the square of the number of positions of memory.
    """

    name = "in-batch-contrastive"
    negatives = "none"

    def __call__(self, hidden: tf.Tensor, batch: Batch, items: Items) -> tf.Tensor:
        """The mean over positions; see the class."""
        positions = tf.where(tf.not_equal(batch["positive_ids"], PAD_ID))
        ids = tf.gather_nd(batch["positive_ids"], positions)
        following = items.vectors_of(ids)
        ids = tf.where(tf.reduce_any(tf.not_equal(following, 0), axis=1), ids, PAD_ID)
        users = tf.gather_nd(hidden, positions)
        return in_batch_contrastive(users, following, ids, groups=positions[:, 0])


def orthogonality(shared: tf.Tensor, specific: tf.Tensor) -> tf.Tensor:
    """How much a domain's own features repeat the shared ones; a loss.

    The mean over rows of the squared cosine. DACDR's abstract says that there is an orthogonal
    constraint, not which; this one doesn't depend on the vectors' scale.

    Args:
        shared: (batch, dim).
        specific: Of the same users or items, (batch, dim).

    Returns:
        A scalar in 0 … 1.

    Example:
        >>> float(orthogonality(tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 2.0]])))
        0.0
    """
    shared, specific = (tf.math.l2_normalize(x, axis=-1) for x in (shared, specific))
    losses = tf.square(tf.reduce_sum(shared * specific, axis=-1))
    return mean_over_replicas(losses, tf.ones_like(losses))
