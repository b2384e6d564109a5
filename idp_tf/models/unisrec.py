"""UniSRec: sequences of titles, which are understood in any domain."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.errors import SettingsError
from idp_tf.layers import PostNormTransformer, SummedItems, TitleItems, derive_seed
from idp_tf.models.transformer_model import TransformerModel
from idp_tf.representation_losses import TEMPERATURE


@tf_keras.utils.register_keras_serializable("idp_tf")
class UniSRec(TransformerModel):
    """A transformer over titles, or over ids and titles, whose scores are cosines.

    An item is what ``MoEAdaptor`` makes of its title's vector (text only, the paper's
    inductive setting), or that plus a vector of its id (ID + text, the transductive one). The
    encoder reads these as they are. For scores both sides are normalised, and users are
    divided by the temperature, 0.07, so that a score is a cosine over that.

    Compared with the official code (RUCAIBox/UniSRec), forward pass and fine-tuning loss
    are the same, but: positions are counted from the end; padding is no candidate in the
    loss, which there is one; each position of a history is trained on, where theirs makes
    a row of each prefix; the adaptor's dropout and noise are drawn once for an item among the
    histories of a batch, as theirs are among candidates; an item without a title adds nothing,
    where theirs gives it what the adaptor makes of zeros. Text only, such an item has the score
    0 for everyone.

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        embedding_dim: Width of item vectors and of the encoder, 300 in the official settings.
        num_layers: Transformer layers.
        num_heads: Attention heads.
        dropout: Dropout rate, 0.5 in the official settings.
        max_length: Longest history that is read.
        fix_encoder: Whether positions and transformer layers stay as they are, as in the
            official fine-tuning of a pre-trained model in both settings; trained are the
            adaptor, the ids, and the norm of the encoder's inputs.
        seed: Seed of the encoder's initial weights and of dropout.
        items: ``TitleItems``, or ``SummedItems`` of ids and titles; their adaptor is to be a
            ``MoEAdaptor``.
        **kwargs: As for ``TransformerModel``; the ``loss`` ``cross-entropy`` is the original's.

    Raises:
        SettingsError: if the items have no titles, or do not fit.

    Reference: Hou et al. 2022, "Towards Universal Sequence Representation Learning for
    Recommender Systems", https://arxiv.org/abs/2206.05941; github.com/RUCAIBox/UniSRec.

    Example:
        >>> import numpy as np
        >>> from idp_tf.layers import MoEAdaptor
        >>> titles = np.concatenate([np.zeros((1, 12)), np.eye(10, 12)])
        >>> items = TitleItems(titles, 8, MoEAdaptor(8, num_experts=2))
        >>> model = UniSRec(num_items=10, embedding_dim=8, max_length=5, items=items)
        >>> model.encode_users(np.array([[0, 0, 1, 2, 3]], np.int32)).shape
        TensorShape([1, 8])
    """

    items: TitleItems | SummedItems

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 2,
        dropout: float = 0.2,
        max_length: int = 50,
        fix_encoder: bool = False,
        seed: int = 0,
        items: TitleItems | SummedItems | None = None,
        **kwargs: Any,
    ):
        if not isinstance(items, TitleItems | SummedItems):
            raise SettingsError(
                "UniSRec reads titles, alone or added to ids, and none are given",
                where="items",
                remedy="give TitleItems(title_vectors, dim, MoEAdaptor(dim)), or SummedItems of "
                "ids and those; data without titles takes a system that reads ids alone, such as "
                "SASRec",
            )
        encoder = PostNormTransformer(
            num_layers,
            num_heads,
            max_length,
            dropout,
            derive_seed(seed, 1),
            fixed=fix_encoder,
            name="encoder",
        )
        super().__init__(num_items, embedding_dim, encoder, seed, items=items, **kwargs)
        self.fix_encoder = fix_encoder

    def encoded(
        self, vectors: tf.Tensor, item_ids: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """Users of length 1 / 0.07, after each item; see ``SequenceModel``."""
        return unit(super().encoded(vectors, item_ids, training=training)) / TEMPERATURE

    def item_vectors(self, training: bool | None = None) -> tf.Tensor:
        """Vectors of length 1 of all items, (num_items + 1, dim); row 0 is padding."""
        return unit(super().item_vectors(training=training))

    def vectors_of(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Vectors of length 1 of some items: ids (batch, …) -> (batch, …, dim)."""
        return unit(super().vectors_of(item_ids, training=training))

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {**super().get_config(), "fix_encoder": self.fix_encoder}


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors (…, dim) at length 1; zeros stay zeros."""
    return tf.math.l2_normalize(vectors, axis=-1)
