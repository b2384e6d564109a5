"""Training losses of the sequence models (tf_keras)."""

from __future__ import annotations

import tensorflow as tf


def bpr_loss(
    positive_scores: tf.Tensor, negative_scores: tf.Tensor, padding_mask: tf.Tensor
) -> tf.Tensor:
    """Bayesian Personalized Ranking, the mean of ``-log sigmoid(positive - negative)``.

    Under a synchronous strategy the replicas' results add up to the mean over the positions
    of the whole batch, as their gradients are added up, however these fall to the replicas.

    Eq. 3 of ID-centric Pre-training sums where this averages over the positions of a
    batch, so that the learning rate does not depend on the batch's size.

    Args:
        positive_scores: Scores of the items that followed, (batch, length).
        negative_scores: Scores of one sampled negative each, (batch, length).
        padding_mask: True where a position counts, (batch, length) bool.

    Returns:
        A scalar; 0 if no position counts.

    Reference: Rendle et al. 2009.

    Example:
        >>> mask = tf.constant([[True, False]])
        >>> float(bpr_loss(tf.zeros((1, 2)), tf.zeros((1, 2)), mask))  # log 2
        0.6931471824645996
    """
    losses = tf.nn.softplus(negative_scores - positive_scores)
    weights = tf.cast(padding_mask, losses.dtype)
    count = _sum_over_replicas(tf.reduce_sum(weights))
    return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), count)


def _sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return value
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, value)
