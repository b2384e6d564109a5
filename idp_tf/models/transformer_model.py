"""What sequence models have in common whose encoder is made of transformer layers."""

from __future__ import annotations

from typing import Any

import tf_keras

from idp_tf.models.base import SequenceModel


class TransformerModel(SequenceModel):
    """A ``SequenceModel`` that takes its shape from its encoder.

    What subclasses take by ``**kwargs`` is for here: ``loss``, ``embeddings_initializer`` or
    ``items``, see ``SequenceModel``, and Keras's own.

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        embedding_dim: Width of item vectors and of the encoder's outputs.
        encoder: As for ``SequenceModel``, with the attributes that follow, and ``max_length``.
        seed: Seed of the item embeddings.
        **kwargs: What else ``SequenceModel`` takes.

    Attributes:
        num_layers: Transformer layers.
        num_heads: Attention heads of each.
        dropout: Rate of the encoder's dropouts.
    """

    def __init__(
        self,
        num_items: int,
        embedding_dim: int,
        encoder: tf_keras.layers.Layer,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(num_items, embedding_dim, encoder.max_length, encoder, seed=seed, **kwargs)
        self.num_layers: int = encoder.num_layers
        self.num_heads: int = encoder.num_heads
        self.dropout: float = encoder.dropout

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``, but for initializers."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
        }
