"""LazyAdam, against a NumPy transcription and against Adam."""

import numpy as np
import tensorflow as tf
import tf_keras

from idp_tf.optimizers import LazyAdam

RATE, BETA_1, BETA_2, EPSILON = 0.01, 0.9, 0.999, 1e-7


def test_rows_without_a_gradient_stay_and_the_others_move_as_adam_says():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(5, 3)).astype(np.float32)
    table = tf.Variable(start)
    optimizer = LazyAdam(RATE)
    values, momentum, velocity = start.copy(), np.zeros((5, 3)), np.zeros((5, 3))
    for step, rows in enumerate(([0, 2], [2, 4], [0]), start=1):
        gradient = rng.normal(size=(len(rows), 3)).astype(np.float32)
        slices = tf.IndexedSlices(tf.constant(gradient), tf.constant(rows), [5, 3])
        optimizer.apply_gradients([(slices, table)])
        momentum[rows] = BETA_1 * momentum[rows] + (1 - BETA_1) * gradient
        velocity[rows] = BETA_2 * velocity[rows] + (1 - BETA_2) * gradient**2
        rate = RATE * np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
        values[rows] -= rate * momentum[rows] / (np.sqrt(velocity[rows]) + EPSILON)
    np.testing.assert_allclose(table.numpy(), values, atol=1e-6)
    np.testing.assert_array_equal(table.numpy()[[1, 3]], start[[1, 3]])


def test_more_rows_than_are_updated_at_once_in_a_graph():
    """1,300 rows are two whole pieces of 512 and a part of one."""
    rng = np.random.default_rng(1)
    start = rng.normal(size=(2_000, 4)).astype(np.float32)
    rows = rng.permutation(2_000)[:1_300]
    gradient = rng.normal(size=(1_300, 4)).astype(np.float32)
    table, optimizer = tf.Variable(start), LazyAdam(RATE)
    optimizer.build([table])

    @tf.function
    def step() -> None:
        optimizer.apply_gradients([(tf.IndexedSlices(gradient, rows, [2_000, 4]), table)])

    step()
    # Adam's first step is the learning rate, against the sign of the gradient.
    expected = start.copy()
    expected[rows] -= RATE * gradient / (np.abs(gradient) + EPSILON / np.sqrt(1 - BETA_2))
    np.testing.assert_allclose(table.numpy(), expected, atol=1e-6)


def test_repeated_rows_of_a_gradient_are_added_first():
    once, twice = tf.Variable([[1.0], [1.0]]), tf.Variable([[1.0], [1.0]])
    LazyAdam(RATE).apply_gradients(
        [(tf.IndexedSlices(tf.constant([[3.0]]), tf.constant([1]), [2, 1]), once)]
    )
    LazyAdam(RATE).apply_gradients(
        [(tf.IndexedSlices(tf.constant([[1.0], [2.0]]), tf.constant([1, 1]), [2, 1]), twice)]
    )
    np.testing.assert_allclose(once.numpy(), twice.numpy())


def test_equals_adam_where_every_row_has_a_gradient():
    ours, theirs = tf.Variable([[1.0, 2.0], [3.0, 4.0]]), tf.Variable([[1.0, 2.0], [3.0, 4.0]])
    lazy, adam = LazyAdam(RATE), tf_keras.optimizers.Adam(RATE)
    for scale in (1.0, -2.0, 0.5):
        gradient = tf.constant([[1.0, -1.0], [0.5, 2.0]]) * scale
        lazy.apply_gradients([(tf.IndexedSlices(gradient, tf.constant([0, 1]), [2, 2]), ours)])
        adam.apply_gradients([(gradient, theirs)])
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


def test_row_rate_speeds_up_rows_alone_and_survives_the_config():
    row, dense = tf.Variable([[1.0]]), tf.Variable([1.0])
    optimizer = LazyAdam.from_config(LazyAdam(RATE, row_rate=5.0).get_config())
    slices = tf.IndexedSlices(tf.constant([[2.0]]), tf.constant([0]), [1, 1])
    optimizer.apply_gradients([(slices, row), (tf.constant([2.0]), dense)])
    # Adam's first step is the learning rate, whatever the gradient.
    np.testing.assert_allclose(row.numpy(), [[1 - 5 * RATE]], rtol=1e-5)
    np.testing.assert_allclose(dense.numpy(), [1 - RATE], rtol=1e-5)
