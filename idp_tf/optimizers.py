"""Optimizers (tf_keras)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tf_keras

_ROWS_AT_ONCE = 2048
"""Fewer pieces cost less to begin, smaller ones stay in a core's cache between operations."""


@tf_keras.utils.register_keras_serializable("idp_tf")
class LazyAdam(tf_keras.optimizers.Adam):
    """Adam that touches only the rows of an embedding table that a batch used.

    Plain Adam decays the moments of every row at every step, moves every row by what is left
    of its momentum, and so walks the whole table, whose cost grows with the catalogue. Here a
    row makes up for the steps that it missed when a batch uses it again: its moments decay,
    and it moves, by what plain Adam would have done meanwhile, in closed form. A batch so reads
    a rare row before its last momentum has moved it. But for that, and for the rate of the
    missed steps, which is taken to be that of the step that makes up for them, it is Adam.
    Dense variables are Adam's.

    ``finalize_variable_values``, which Keras calls at the end of ``fit``, makes up for all
    rows. Call it before a table is looked at during training.

    Args:
        learning_rate: A number or a schedule.
        **kwargs: As for ``tf_keras.optimizers.Adam``.

    Reference: Kingma and Ba 2015, algorithm 1. TensorFlow Addons' LazyAdam forgets what rows
    missed, so that rare ones learn too slowly (docs/performance.md).

    Example:
        >>> table = tf.Variable([[1.0], [1.0]])
        >>> optimizer = LazyAdam(0.1)
        >>> gradient = tf.IndexedSlices(tf.constant([[2.0]]), tf.constant([1]), [2, 1])
        >>> _ = optimizer.apply_gradients([(gradient, table)])
        >>> [round(float(value), 3) for value in table.numpy().ravel()]
        [1.0, 0.9]
    """

    def __init__(self, learning_rate: float = 0.001, **kwargs: Any):
        # Keras would compile updates by XLA where there is a GPU, anew for each number of rows.
        super().__init__(learning_rate, **{"jit_compile": False, **kwargs})
        # Variables whose gradients are sparse, as tracing finds them.
        self._tables: set[str] = set()

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Makes the moments, and for each row the step at which it was last up to date."""
        built = getattr(self, "_built", False)
        super().build(var_list)
        if built:
            return
        # Like the moments they have the variable's type: whole numbers up to 2 ** 24 in float32.
        self._last_steps = [
            self.add_variable_from_reference(variable, "last_step", shape=variable.shape[:1])
            for variable in var_list
        ]

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """Updates one variable; sparse gradients arrive with unique indices."""
        if isinstance(gradient, tf.IndexedSlices):
            self._tables.add(self._var_key(variable))
            self._update_rows(gradient, variable)
        else:
            self._update_all(gradient, variable)

    def finalize_variable_values(self, var_list: Sequence[tf.Variable]) -> None:
        """Makes up, in every row of every table, for the steps that it missed."""
        super().finalize_variable_values(var_list)
        if not hasattr(self, "_catch_up"):
            self._catch_up = tf.function(self._catch_up_tables, autograph=False)
        self._catch_up([v for v in var_list if self._var_key(v) in self._tables])

    def _catch_up_tables(self, tables: list[tf.Variable]) -> None:
        strategy = tf.distribute.get_strategy()
        for table in tables:
            strategy.extended.update(table, self._catch_up_rows)

    def _update_all(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        slot = self._index_dict[self._var_key(variable)]
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1 = tf.constant(self.beta_1, variable.dtype)
        beta_2 = tf.constant(self.beta_2, variable.dtype)
        # One operation, where Keras has fifteen: small variables cost their number.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[slot].handle,
            v=self._velocities[slot].handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(self.learning_rate, variable.dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, variable.dtype),
            grad=gradient,
        )

    def _update_rows(self, gradient: tf.IndexedSlices, variable: tf.Variable) -> None:
        slot = self._index_dict[self._var_key(variable)]
        step = tf.cast(self.iterations + 1, variable.dtype)
        rate = self._rate(step)

        def update(rows: tf.Tensor, start: tf.Tensor) -> None:
            values = gradient.values[start : start + _ROWS_AT_ONCE]
            missed = self._missed(slot, rows, step)
            new_momentum = missed.momentum + (1 - self.beta_1) * values
            new_velocity = missed.velocity + (1 - self.beta_2) * tf.square(values)
            change = new_momentum / (tf.sqrt(new_velocity) + self.epsilon) + missed.change
            self._write(slot, variable, rows, new_momentum, new_velocity, rate * change, step)

        _in_pieces(gradient.indices, update)

    def _catch_up_rows(self, variable: tf.Variable) -> None:
        slot = self._index_dict[self._var_key(variable)]
        step = tf.cast(self.iterations, variable.dtype)
        # Before the first step there is nothing to make up for, and no rate.
        rate = self._rate(tf.maximum(step, 1))

        def update(rows: tf.Tensor, start: tf.Tensor) -> None:
            # As if another step with no gradient for these rows were due, and the moments as now.
            ahead = self._missed(slot, rows, step + 1)
            momentum, velocity = ahead.momentum / self.beta_1, ahead.velocity / self.beta_2
            self._write(slot, variable, rows, momentum, velocity, rate * ahead.change, step)

        _in_pieces(tf.range(tf.shape(variable)[0]), update)

    def _rate(self, step: tf.Tensor) -> tf.Tensor:
        """The learning rate with both moments' corrections for having begun at zero."""
        beta_1, beta_2 = tf.cast(self.beta_1, step.dtype), tf.cast(self.beta_2, step.dtype)
        rate = tf.cast(self.learning_rate, step.dtype)
        return rate * tf.sqrt(1 - tf.pow(beta_2, step)) / (1 - tf.pow(beta_1, step))

    def _missed(self, slot: int, rows: tf.Tensor, step: tf.Tensor) -> _Missed:
        """Rows that are about to take a step, and have missed those since their last one.

        After j steps without a gradient the momentum is ``beta_1^j m``. Adam's changes, a rate
        apart, add up to ``(beta_1 + … + beta_1^k) m / (sqrt(v) + epsilon)``, in which the slow
        decay of v is left out: ``beta_1^j`` is nothing long before it counts.
        """
        momentum = tf.gather(self._momentums[slot], rows)
        velocity = tf.gather(self._velocities[slot], rows)
        steps = (step - tf.gather(self._last_steps[slot], rows))[:, None]
        decayed = momentum * tf.pow(tf.cast(self.beta_1, step.dtype), steps)
        change = (self.beta_1 * momentum - decayed) / (tf.sqrt(velocity) + self.epsilon)
        return _Missed(
            decayed,
            velocity * tf.pow(tf.cast(self.beta_2, step.dtype), steps),
            change / (1 - self.beta_1),
        )

    def _write(
        self,
        slot: int,
        variable: tf.Variable,
        rows: tf.Tensor,
        momentum: tf.Tensor,
        velocity: tf.Tensor,
        change: tf.Tensor,
        step: tf.Tensor,
    ) -> None:
        self._momentums[slot].scatter_update(tf.IndexedSlices(momentum, rows))
        self._velocities[slot].scatter_update(tf.IndexedSlices(velocity, rows))
        # Four times as fast as ``scatter_sub``, the reading counted.
        variable.scatter_update(tf.IndexedSlices(tf.gather(variable, rows) - change, rows))
        steps = tf.fill(tf.shape(rows), step)
        self._last_steps[slot].scatter_update(tf.IndexedSlices(steps, rows))


class _Missed(NamedTuple):
    """What became of rows: their decayed moments, and their change but for the rate."""

    momentum: tf.Tensor
    velocity: tf.Tensor
    change: tf.Tensor


def _in_pieces(rows: tf.Tensor, update: Any) -> None:
    """Calls ``update(rows, start)`` with so many rows as fit into a core's cache."""
    count = tf.shape(rows)[0]

    def piece(start: tf.Tensor) -> list[tf.Tensor]:
        update(rows[start : start + _ROWS_AT_ONCE], start)
        return [start + _ROWS_AT_ONCE]

    tf.while_loop(lambda start: start < count, piece, [0], parallel_iterations=1)
