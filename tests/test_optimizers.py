"""LazyAdam, against a NumPy transcription and against Adam."""

import numpy as np
import tensorflow as tf
import tf_keras

from idp_tf.optimizers import LazyAdam

RATE, BETA_1, BETA_2, EPSILON = 0.01, 0.9, 0.999, 1e-7


def sparse(gradient, rows, count):
    return tf.IndexedSlices(tf.constant(gradient, tf.float32), tf.constant(rows), [count, 3])


class Transcription:
    """What the optimizer says of itself, step by missed step where it has a closed form."""

    def __init__(self, values):
        self.values = values.astype(np.float64)
        self.momentum, self.velocity = np.zeros_like(self.values), np.zeros_like(self.values)
        self.last = np.zeros(len(values), int)
        self.step = 0

    @staticmethod
    def rate(step):
        return RATE * np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)

    def make_up(self, row, until):
        root = np.sqrt(self.velocity[row]) + EPSILON
        missed = until - self.last[row]
        # With the rate of the step that is being taken.
        for steps in range(1, missed + 1):
            self.values[row] -= self.rate(self.step) * BETA_1**steps * self.momentum[row] / root
        self.momentum[row] *= BETA_1**missed
        self.velocity[row] *= BETA_2**missed
        self.last[row] = until

    def apply(self, gradient, rows):
        self.step += 1
        for row, value in zip(rows, gradient, strict=True):
            self.make_up(row, self.step - 1)
            self.momentum[row] = BETA_1 * self.momentum[row] + (1 - BETA_1) * value
            self.velocity[row] = BETA_2 * self.velocity[row] + (1 - BETA_2) * value**2
            root = np.sqrt(self.velocity[row]) + EPSILON
            self.values[row] -= self.rate(self.step) * self.momentum[row] / root
            self.last[row] = self.step

    def finish(self):
        for row in range(len(self.values)):
            self.make_up(row, self.step)


def test_rows_make_up_for_missed_steps_when_they_are_touched_and_at_the_end():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(6, 3)).astype(np.float32)
    table, wanted, optimizer = tf.Variable(start), Transcription(start), LazyAdam(RATE)
    for rows in ([0, 2], [2, 4], [0], [1, 2], [0, 1, 3], [4]):
        gradient = rng.normal(size=(len(rows), 3))
        optimizer.apply_gradients([(sparse(gradient, rows, 6), table)])
        wanted.apply(gradient, rows)
        np.testing.assert_allclose(table.numpy(), wanted.values, atol=1e-6)
    np.testing.assert_array_equal(table.numpy()[5], start[5])
    optimizer.finalize_variable_values([table])
    wanted.finish()
    np.testing.assert_allclose(table.numpy(), wanted.values, atol=1e-6)
    again = table.numpy()
    optimizer.finalize_variable_values([table])
    np.testing.assert_array_equal(table.numpy(), again)


def test_at_the_end_it_is_where_adam_is():
    """Gradients that do not hang on the values: only when a row moves may differ."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=(40, 3)).astype(np.float32)
    ours, theirs = tf.Variable(start), tf.Variable(start)
    # Steps over which Adam's rate no longer changes much.
    lazy, adam = LazyAdam(RATE, beta_2=0.99), tf_keras.optimizers.Adam(RATE, beta_2=0.99)
    for _ in range(600):
        rows = rng.choice(40, 4, replace=False)
        gradient = rng.normal(size=(4, 3)) + np.sign(start[rows])
        dense = np.zeros_like(start)
        dense[rows] = gradient
        lazy.apply_gradients([(sparse(gradient, rows, 40), ours)])
        adam.apply_gradients([(tf.constant(dense), theirs)])
    lazy.finalize_variable_values([ours])
    moved = np.abs(theirs.numpy() - start).mean()
    assert np.abs(ours.numpy() - theirs.numpy()).mean() < 0.03 * moved


def test_dense_variables_have_nothing_to_make_up_for():
    ours, theirs = tf.Variable([[1.0, 2.0]]), tf.Variable([[1.0, 2.0]])
    lazy, adam = LazyAdam(RATE), tf_keras.optimizers.Adam(RATE)
    for gradient in ([[1.0, -1.0]], [[0.0, 2.0]]):
        for optimizer, variable in ((lazy, ours), (adam, theirs)):
            optimizer.apply_gradients([(tf.constant(gradient), variable)])
    lazy.finalize_variable_values([ours])
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


def test_more_rows_than_are_updated_at_once_in_a_graph():
    """5,000 rows are two whole pieces of 2,048 and a part of one."""
    rng = np.random.default_rng(1)
    start = rng.normal(size=(8_000, 4)).astype(np.float32)
    rows = rng.permutation(8_000)[:5_000]
    gradient = rng.normal(size=(5_000, 4)).astype(np.float32)
    table, optimizer = tf.Variable(start), LazyAdam(RATE)
    optimizer.build([table])

    @tf.function
    def step() -> None:
        optimizer.apply_gradients([(tf.IndexedSlices(gradient, rows, [8_000, 4]), table)])

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


def test_it_survives_its_config():
    optimizer = LazyAdam.from_config(LazyAdam(RATE, beta_1=0.5).get_config())
    assert (float(optimizer.learning_rate), optimizer.beta_1) == (np.float32(RATE), 0.5)
