"""Stacks of transformer layers: SASRec's, and what others share with it."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf
import tf_keras

from idp_tf.layers.attention import CausalSelfAttention, SelfAttention, build_initializer
from idp_tf.layers.dropout import CountedDropout
from idp_tf.layers.normalization import LayerNorm
from idp_tf.layers.seeds import derive_seed


class TransformerBlock(tf_keras.layers.Layer):
    """What a transformer layer consists of; subclasses say in which order, by ``call``.

    Args:
        num_heads: Attention heads.
        dropout: Rate of all dropouts.
        seed: Seed of initial weights and dropout.
    """

    attention_class: ClassVar[type[SelfAttention]] = SelfAttention
    inner_widths: ClassVar[int] = 1
    activation: ClassVar[str] = "relu"
    epsilon: ClassVar[float] = 1e-8
    initial_stddev: ClassVar[float | None] = None
    """Of truncated normal kernels; None for Glorot's."""

    def __init__(self, num_heads: int, dropout: float, seed: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_heads, self.dropout, self.seed = num_heads, dropout, seed

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates attention, a two-layer network, and a norm for each."""
        width = int(input_shape[-1])
        self.attention_norm = LayerNorm(epsilon=self.epsilon)
        self.attention = self.attention_class(
            self.num_heads, self.dropout, derive_seed(self.seed, 0), self.initial_stddev
        )
        self.attention_dropout = self._dropout(1)
        self.network_norm = LayerNorm(epsilon=self.epsilon)
        self.inner = tf_keras.layers.Dense(
            self.inner_widths * width,
            activation=self.activation,
            kernel_initializer=self._initializer(2),
        )
        self.outer = tf_keras.layers.Dense(width, kernel_initializer=self._initializer(3))
        self.outer_dropout = self._dropout(5)
        super().build(input_shape)

    def _dropout(self, part: int) -> CountedDropout:
        return CountedDropout(self.dropout, seed=derive_seed(self.seed, part))

    def _initializer(self, part: int) -> tf_keras.initializers.Initializer:
        return build_initializer(derive_seed(self.seed, part), self.initial_stddev)


class CausalBlock(TransformerBlock):
    """SASRec's: attention and network are each normalised before and added after.

    Arguments: ``TransformerBlock``. Call arguments and result: ``CausalTransformer``.
    """

    attention_class = CausalSelfAttention

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates what ``TransformerBlock`` does, and a dropout within the network."""
        super().build(input_shape)
        self.inner_dropout = self._dropout(4)

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """Encodes; see the class."""
        normal = self.attention_norm(inputs, training=training)
        attended = self.attention(normal, padding_mask, training=training)
        attended = self.adapt_attention(normal, attended)
        hidden = inputs + self.attention_dropout(attended, training=training)
        normal = self.network_norm(hidden, training=training)
        inner = self.inner_dropout(self.inner(normal), training=training)
        outer = self.adapt_network(normal, self.outer(inner))
        return hidden + self.outer_dropout(outer, training=training)

    def adapt_attention(self, inputs: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """What becomes of the attention's outputs, (batch, length, dim); here, nothing."""
        return outputs

    def adapt_network(self, inputs: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """What becomes of the network's outputs, (batch, length, dim); here, nothing."""
        return outputs


class TransformerStack(tf_keras.layers.Layer):
    """Position embeddings and a stack of transformer layers, for encoders to call.

    Inputs are padded on the left, and positions are counted from the end: the most
    recent item has position 0 whatever the padding, so a batch may be as short as
    its longest sequence and padding changes nothing.

    Args:
        num_layers: Number of layers.
        num_heads: Attention heads in each.
        max_length: Longest sequence that has position embeddings.
        dropout: Rate of all dropouts.
        seed: Seed of initial weights and dropout.
    """

    block_class: ClassVar[type[TransformerBlock]]

    def __init__(
        self,
        num_layers: int,
        num_heads: int,
        max_length: int,
        dropout: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.max_length = max_length
        self.dropout = dropout
        self.seed = seed

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates position embeddings and layers."""
        width = int(input_shape[-1])
        self.positions = self.add_weight(
            name="positions",
            shape=(self.max_length, width),
            initializer=tf_keras.initializers.RandomNormal(
                stddev=0.02, seed=derive_seed(self.seed, 0)
            ),
        )
        self.input_dropout = CountedDropout(self.dropout, seed=derive_seed(self.seed, 1))
        self.blocks = [self.build_block(i) for i in range(self.num_layers)]
        super().build(input_shape)

    def build_block(self, number: int) -> TransformerBlock:
        """The layer with a number, from 0; what a transformer with other layers overrides."""
        return self.block_class(
            self.num_heads,
            self.dropout,
            derive_seed(self.seed, 2 + number),
            name=f"block_{number}",
        )

    def with_positions(self, inputs: tf.Tensor) -> tf.Tensor:
        """Adds position embeddings to (batch, length, dim)."""
        recent_last = tf.reverse(self.positions[: tf.shape(inputs)[1]], axis=[0])
        return inputs + recent_last

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "max_length": self.max_length,
            "dropout": self.dropout,
            "seed": self.seed,
        }


@tf_keras.utils.register_keras_serializable("idp_tf")
class CausalTransformer(TransformerStack):
    """Position embeddings and ``num_layers`` causal transformer layers (eq. 2).

    Arguments, and how positions are counted: ``TransformerStack``.

    Call arguments:
        inputs: Item embeddings, (batch, length, dim), length <= max_length.
        padding_mask: (batch, length) bool, True where there is an item.

    Returns:
        (batch, length, dim); the last position represents the user.

    Reference: Kang and McAuley 2018 (layer norm before each sublayer, ReLU, an inner
    width equal to the embedding's); ID-centric Pre-training, eq. 2.
    """

    block_class = CausalBlock

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates position embeddings, layers and the last norm."""
        super().build(input_shape)
        self.output_norm = LayerNorm(epsilon=1e-8, name="output_norm")

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """Encodes; see the class."""
        hidden = self.input_dropout(self.with_positions(inputs), training=training)
        for block in self.blocks:
            hidden = block(hidden, padding_mask, training=training)
        return self.output_norm(hidden, training=training)
