"""Histories and ``k`` as requests give them, checked in the graph.

``k`` is one number for the whole request, or one for each row. TF-Serving's batching puts
requests together along the first dimension of every input and refuses scalars
(tensorflow_serving/batching/batching_util.h, ComputeTensorBatchSize): ``k`` for each row is
what it can batch. There a row that cannot be answered must not fail the requests that share
its batch, so it is answered by nothing; with a scalar ``k`` it is an error.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import tensorflow as tf

from idp_tf.data.schema import PAD_ID

NO_SCORE: Final = float("-inf")

K_SPEC: Final = tf.TensorSpec(None, tf.int32, name="k")
"""Of any rank: a scalar, or (batch,)."""


class Width(NamedTuple):
    """How many items are asked for: at most, a scalar, and by each row, (batch or 1, 1)."""

    most: tf.Tensor
    of_row: tf.Tensor


def checked_width(k: tf.Tensor, num_rows: tf.Tensor, num_items: int) -> Width:
    """``k``, a scalar that must fit or one for each row that is made to fit."""
    shape, flat = tf.shape(k), tf.reshape(k, [-1])
    fits = (tf.rank(k) == 0) | ((tf.rank(k) == 1) & (tf.size(k) == num_rows))
    good = (tf.size(shape) > 0) | tf.reduce_all((flat >= 1) & (flat <= num_items))
    told = tf.strings.reduce_join(tf.strings.as_string(flat), separator=", ")
    checks = [
        tf.debugging.Assert(fits, ["k must be one number, or one for each row of the request"]),
        tf.debugging.Assert(
            good, [tf.strings.join([f"k must be between 1 and {num_items}, got ", told])]
        ),
    ]
    with tf.control_dependencies(checks):
        of_row = tf.clip_by_value(flat, 0, num_items)
    return Width(tf.reduce_max(tf.concat([[0], of_row], axis=0)), of_row[:, None])


def check_known(num_known: tf.Tensor, k: tf.Tensor, message: str) -> tf.Operation:
    """With a scalar ``k``, refuses rows of which nothing is known (num_known, (batch,))."""
    unknown = num_known < 1
    # The 0 at the end is for a batch of no rows, over which there is no argmax.
    flags = tf.concat([tf.cast(unknown, tf.int32), [0]], axis=0)
    row = tf.argmax(flags, output_type=tf.int32)
    told = tf.strings.join(["row ", tf.strings.as_string(row), message])
    return tf.debugging.Assert((tf.rank(k) > 0) | ~tf.reduce_any(unknown), [told])


def check_rows(
    lists: tf.Tensor, item_ids: tf.Tensor, name: str, *, or_one: bool = False
) -> tf.Operation:
    """Refuses lists that are not as many as the histories or, where that may be, one for all."""
    given, wanted = tf.shape(lists)[0], tf.shape(item_ids)[0]
    good = (given == wanted) | ((given == 1) & or_one)
    message = [f"{name} has ", " rows, item_ids ", " rows; give a row for each"]
    told = [tf.strings.as_string(given), tf.strings.as_string(wanted)]
    parts = [message[0], told[0], message[1], told[1], message[2]]
    return tf.debugging.Assert(good, [tf.strings.join(parts)])


def answered(scores: tf.Tensor, width: Width, num_known: tf.Tensor) -> tf.Tensor:
    """Scores (batch, width.most), -inf beyond what a row asks for or where nothing is known."""
    wanted = tf.range(width.most)[None] < width.of_row
    return tf.where(wanted & (num_known > 0)[:, None], scores, NO_SCORE)


def last_known(history: tf.Tensor, max_length: int) -> tf.Tensor:
    """The last ``max_length`` known ids of each row in their order, padded on the left.

    Args:
        history: Internal ids, 0 where there is none, anywhere in the row; (batch, length).
        max_length: The width of the answer.

    Returns:
        Shape (batch, max_length), int32.
    """
    # A stable sort by "known" moves the gaps to the front and keeps the order.
    order = tf.argsort(tf.cast(history != PAD_ID, tf.int32), axis=1, stable=True)
    packed = tf.gather(history, order, batch_dims=1)
    padded = tf.pad(packed, [[0, 0], [max_length, 0]], constant_values=PAD_ID)
    return tf.ensure_shape(padded[:, -max_length:], (None, max_length))
