"""Optimizers (tf_keras)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

_ROWS_AT_ONCE = 512
"""What is made of so many rows, 64 wide, stays in a core's cache from one operation to the next."""


@tf_keras.utils.register_keras_serializable("idp_tf")
class LazyAdam(tf_keras.optimizers.Adam):
    """Adam that touches only the rows of an embedding table that a batch used.

    Plain Adam decays the moments of every row at every step and so walks the whole
    table, whose cost grows with the catalogue. Here rows without a gradient keep
    their moments and their values; dense variables are updated as by Adam.

    Args:
        learning_rate: A number or a schedule.
        row_rate: How many times faster rows of sparse gradients learn. A rare row is moved once
            here where Adam's momentum would go on moving it, so it may need more than 1.
        **kwargs: As for ``tf_keras.optimizers.Adam``.

    Reference: Kingma and Ba 2015; the lazy form is that of TensorFlow Addons.

    Example:
        >>> table = tf.Variable([[1.0], [1.0]])
        >>> optimizer = LazyAdam(0.1)
        >>> gradient = tf.IndexedSlices(tf.constant([[2.0]]), tf.constant([1]), [2, 1])
        >>> _ = optimizer.apply_gradients([(gradient, table)])
        >>> [round(float(value), 3) for value in table.numpy().ravel()]
        [1.0, 0.9]
    """

    def __init__(self, learning_rate: float = 0.001, row_rate: float = 1.0, **kwargs: Any):
        # Keras would compile updates by XLA where there is a GPU, anew for each number of rows.
        super().__init__(learning_rate, **{"jit_compile": False, **kwargs})
        self.row_rate = row_rate

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """Updates one variable; sparse gradients arrive with unique indices."""
        slot = self._index_dict[self._var_key(variable)]
        momentum, velocity = self._momentums[slot], self._velocities[slot]
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1 = tf.constant(self.beta_1, variable.dtype)
        beta_2 = tf.constant(self.beta_2, variable.dtype)
        rate = tf.cast(self.learning_rate, variable.dtype)
        if not isinstance(gradient, tf.IndexedSlices):
            # One operation, where Keras has fifteen: small variables cost their number.
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=momentum.handle,
                v=velocity.handle,
                beta1_power=tf.pow(beta_1, step),
                beta2_power=tf.pow(beta_2, step),
                lr=rate,
                beta1=beta_1,
                beta2=beta_2,
                epsilon=tf.constant(self.epsilon, variable.dtype),
                grad=gradient,
            )
            return
        rate = rate * tf.sqrt(1 - tf.pow(beta_2, step)) / (1 - tf.pow(beta_1, step))

        def update_rows(start: tf.Tensor) -> list[tf.Tensor]:
            rows = gradient.indices[start : start + _ROWS_AT_ONCE]
            values = gradient.values[start : start + _ROWS_AT_ONCE]
            new_momentum = beta_1 * tf.gather(momentum, rows) + (1 - beta_1) * values
            new_velocity = beta_2 * tf.gather(velocity, rows) + (1 - beta_2) * tf.square(values)
            momentum.scatter_update(tf.IndexedSlices(new_momentum, rows))
            velocity.scatter_update(tf.IndexedSlices(new_velocity, rows))
            change = rate * self.row_rate * new_momentum / (tf.sqrt(new_velocity) + self.epsilon)
            # Four times as fast as ``scatter_sub``, the reading counted.
            variable.scatter_update(tf.IndexedSlices(tf.gather(variable, rows) - change, rows))
            return [start + _ROWS_AT_ONCE]

        num_rows = tf.shape(gradient.indices)[0]
        tf.while_loop(lambda start: start < num_rows, update_rows, [0], parallel_iterations=1)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {**super().get_config(), "row_rate": self.row_rate}
