"""GRU4Rec's gated recurrent layers."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.layers.dropout import CountedDropout
from idp_tf.layers.seeds import derive_seed


@tf_keras.utils.register_keras_serializable("idp_tf")
class GatedRecurrent(tf_keras.layers.Layer):
    """``num_layers`` gated recurrent layers, each as wide as the embeddings.

    With x an input, h the state and ``*`` element by element:

        r = sigmoid(W_r x + U_r h + b_r)
        z = sigmoid(W_z x + U_z h + b_z)
        h <- dropout((1 - z) * h + z * tanh(W_h x + U_h (r * h) + b_h))

    The state that dropout has thinned out is what is given out and what is carried on, as in
    the official code. It begins at zero, and padding leaves it as it is.

    ``tf_keras.layers.GRU`` has neither this dropout nor these initial weights, and with padding
    on the left no fast kernel either, on no device: it loops over time steps as this does.

    Args:
        num_layers: Number of layers, each of which reads the one below.
        input_dropout: Rate of dropout on the embeddings.
        state_dropout: Rate of dropout on each new state.
        seed: Seed of initial weights and dropout.

    Call arguments:
        inputs: Item embeddings, (batch, length, dim), padded on the left.
        padding_mask: (batch, length) bool, True where there is an item.

    Returns:
        The last layer's states, (batch, length, dim).

    Reference: Hidasi et al. 2016, https://arxiv.org/abs/1511.06939, eq. 1 to 4, and
    github.com/hidasib/GRU4Rec, ``GRU4Rec.model``. The authors' PyTorch port has
    ``r * (U_h h)``, which is what its library offers, where embeddings are shared.

    Example:
        >>> layer = GatedRecurrent(num_layers=1)
        >>> layer(tf.ones((1, 3, 8)), padding_mask=tf.ones((1, 3), tf.bool)).shape
        TensorShape([1, 3, 8])
    """

    def __init__(
        self,
        num_layers: int,
        input_dropout: float = 0.0,
        state_dropout: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.input_dropout = input_dropout
        self.state_dropout = state_dropout
        self.seed = seed

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the layers."""
        self.thinning = CountedDropout(self.input_dropout, seed=derive_seed(self.seed, 0))
        self.layers = [
            _RecurrentLayer(
                self.state_dropout, derive_seed(self.seed, 1 + i), name=f"recurrent_{i}"
            )
            for i in range(self.num_layers)
        ]
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """Encodes; see the class."""
        hidden = self.thinning(inputs, training=training)
        for layer in self.layers:
            hidden = layer(hidden, padding_mask, training=training)
        return hidden

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "input_dropout": self.input_dropout,
            "state_dropout": self.state_dropout,
            "seed": self.seed,
        }


class _RecurrentLayer(tf_keras.layers.Layer):
    """One layer; its kernels' columns are h, r, z and r, z, as in the official code."""

    def __init__(self, dropout: float, seed: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.dropout, self.seed = dropout, seed

    def build(self, input_shape: tf.TensorShape) -> None:
        width = int(input_shape[-1])
        self.input_kernel = self._kernel("input_kernel", width, 3)
        self.gates_kernel = self._kernel("gates_kernel", width, 2)
        self.state_kernel = self._kernel("state_kernel", width, 1)
        self.bias = self.add_weight(name="bias", shape=(3 * width,), initializer="zeros")
        self.state_dropout = CountedDropout(self.dropout, seed=derive_seed(self.seed, 0))
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        # All steps' masks at once: a loop's body cannot count.
        kept = self.state_dropout(tf.ones_like(inputs), training=training)
        from_inputs = tf.tensordot(inputs, self.input_kernel, axes=1) + self.bias
        gates_kernel, state_kernel = map(
            tf.convert_to_tensor, (self.gates_kernel, self.state_kernel)
        )

        def step(state: tf.Tensor, now: tuple[tf.Tensor, ...]) -> tf.Tensor:
            from_input, present, kept_now = now
            for_state, for_gates = tf.split(from_input, [width, 2 * width], axis=-1)
            gates = tf.sigmoid(for_gates + tf.matmul(state, gates_kernel))
            reset, update = tf.split(gates, 2, axis=-1)
            proposed = tf.tanh(for_state + tf.matmul(reset * state, state_kernel))
            following = ((1 - update) * state + update * proposed) * kept_now
            return tf.where(present, following, state)

        width = inputs.shape[-1]
        steps = [_swapped(values) for values in (from_inputs, padding_mask[..., None], kept)]
        return _swapped(tf.scan(step, tuple(steps), tf.zeros_like(inputs[:, 0])))

    def _kernel(self, name: str, width: int, gates: int) -> tf.Variable:
        """One (width, width) matrix a gate, each within its own limits, side by side."""
        limit = (6 / (width + width)) ** 0.5
        seed = derive_seed(self.seed, gates)
        return self.add_weight(
            name=name,
            shape=(width, gates * width),
            initializer=tf_keras.initializers.RandomUniform(-limit, limit, seed),
        )


def _swapped(values: tf.Tensor) -> tf.Tensor:
    """(batch, length, n) -> (length, batch, n), and back."""
    return tf.transpose(values, [1, 0, 2])
