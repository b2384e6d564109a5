"""GRU4Rec, recurrent recommendation as its authors' code has it."""

from __future__ import annotations

from typing import Any

import tf_keras

from idp_tf.layers import GatedRecurrent, derive_seed
from idp_tf.models.base import SequenceModel


@tf_keras.utils.register_keras_serializable("idp_tf")
class GRU4Rec(SequenceModel):
    """Gated recurrent layers over items, whose embeddings are shared by input and output.

    As in the official code with ``constrained_embedding=True``: the recurrence, dropout on the
    embeddings and on the state that is carried on, and initial weights, uniform within
    ``sqrt(6 / (rows + columns))``, with zero biases. Otherwise than there:

    - The final activation is linear, as by the official code's default; the papers' tanh
      and ELU grow with the score, so they rank alike and differ in training only.
    - Items have no output bias: a score is a dot product.
    - Gradients go through all steps of a sequence. The official code cuts them after each one;
      its README finds no use in more for short sessions, but for users' longer histories.
    - Losses are those of ``idp_tf.losses``, the optimizer is what ``compile`` is given.

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        embedding_dim: Width of item embeddings and of the state.
        num_layers: Recurrent layers.
        dropout: Rate of dropout on the embeddings.
        state_dropout: Rate of dropout on each new state, which is then carried on. The
            official code's best settings have 0 to 0.4, where sessions are short.
        max_length: Longest history that is read.
        embeddings_initializer: Initializer of the item embeddings.
        loss: One of ``idp_tf.losses.LOSSES``.
        seed: Seed of initial weights and dropout.
        **kwargs: ``items``, as for ``SequenceModel``, and Keras's.

    Reference: Hidasi et al. 2016, https://arxiv.org/abs/1511.06939; Hidasi and Karatzoglou
    2018, https://arxiv.org/abs/1706.03847; github.com/hidasib/GRU4Rec. On what ports got
    wrong: Hidasi and Czapp 2023, https://arxiv.org/abs/2307.14956.

    Example:
        >>> import numpy as np
        >>> model = GRU4Rec(num_items=10, embedding_dim=8, max_length=5)
        >>> model.encode_users(np.array([[0, 0, 1, 2, 3]], np.int32)).shape
        TensorShape([1, 8])
    """

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 64,
        num_layers: int = 1,
        dropout: float = 0.2,
        state_dropout: float = 0.0,
        max_length: int = 50,
        embeddings_initializer: Any = None,
        loss: str = "bpr",
        seed: int = 0,
        **kwargs: Any,
    ):
        # Items that are given have made their own table.
        if embeddings_initializer is None and kwargs.get("items") is None:
            limit = (6 / (num_items + embedding_dim)) ** 0.5
            embeddings_initializer = tf_keras.initializers.RandomUniform(
                -limit, limit, derive_seed(seed, 0)
            )
        super().__init__(
            num_items,
            embedding_dim,
            max_length,
            GatedRecurrent(
                num_layers, dropout, state_dropout, seed=derive_seed(seed, 1), name="encoder"
            ),
            embeddings_initializer,
            loss,
            seed,
            **kwargs,
        )
        self.num_layers = num_layers
        self.dropout = dropout
        self.state_dropout = state_dropout

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``, but for the initializer."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "dropout": self.dropout,
            "state_dropout": self.state_dropout,
        }
