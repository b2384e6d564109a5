"""Losses (tf_keras) that bring representations together or keep them apart.

The contrastive ones are UniSRec's: Hou et al. 2022, "Towards Universal Sequence Representation
Learning for Recommender Systems", https://arxiv.org/abs/2206.05941, and its official code. The
orthogonality is DACDR's (``idp_tf.layers.DomainClassifier``).
"""

from __future__ import annotations

from typing import Final

import tensorflow as tf

from idp_tf.data.schema import PAD_ID
from idp_tf.losses import mean_over_replicas

TEMPERATURE: Final = 0.07
SEQUENCE_WEIGHT: Final = 1e-3

# Never the best of anything, and no NaN where there is nothing else.
_EXCLUDED: Final = -1e9


def in_batch_contrastive(
    queries: tf.Tensor,
    keys: tf.Tensor,
    positive_ids: tf.Tensor,
    temperature: float = TEMPERATURE,
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
    excluded = others & (same | ~real[None])
    losses = tf.reduce_logsumexp(tf.where(excluded, _EXCLUDED, scores), axis=1)
    losses -= tf.linalg.diag_part(scores)
    return mean_over_replicas(losses, tf.cast(real, losses.dtype))


def pretraining_loss(
    sequences: tf.Tensor,
    augmented: tf.Tensor,
    next_items: tf.Tensor,
    positive_ids: tf.Tensor,
    temperature: float = TEMPERATURE,
    sequence_weight: float = SEQUENCE_WEIGHT,
) -> tf.Tensor:
    """UniSRec's: the sequence-item loss plus the weighted sequence-sequence loss.

    Args:
        sequences: The encoder's users, (batch, dim).
        augmented: The same users, of augmented histories, (batch, dim).
        next_items: Vectors of the next items, (batch, dim).
        positive_ids: Their ids, (batch,); see ``in_batch_contrastive``.
        temperature: Of both.
        sequence_weight: Weight of the sequence-sequence loss.

    Returns:
        A scalar.

    Example:
        >>> users, ids = tf.eye(4), tf.constant([3, 4, 5, 6])
        >>> round(float(pretraining_loss(users, users, users, ids, 1.0, 0.5)), 4)
        1.1155
    """
    to_items = in_batch_contrastive(sequences, next_items, positive_ids, temperature)
    to_sequences = in_batch_contrastive(sequences, augmented, positive_ids, temperature)
    return to_items + sequence_weight * to_sequences


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
