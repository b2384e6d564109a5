"""PeterRec: a pre-trained encoder that stays as it is, with small patches that learn."""

from __future__ import annotations

from typing import Any

import tf_keras

from idp_tf.errors import SettingsError
from idp_tf.layers import PatchedTransformer, derive_seed
from idp_tf.layers.patches import Insertion
from idp_tf.models.base import SequenceModel, copy_weights
from idp_tf.models.sasrec import SASRec
from idp_tf.models.transformer_model import TransformerModel


@tf_keras.utils.register_keras_serializable("idp_tf")
class PeterRec(TransformerModel):
    """SASRec's encoder, frozen, with model patches (``PatchedTransformer``).

    Trained are the target's item embeddings, which also score and so are the output layer, the
    patches, the norm before each layer's network, and the last norm; ``from_pretrained`` gives
    the rest its values. Made directly, the frozen weights are random until a file of weights
    is loaded.

    What the official code (fajieyuan/SIGIR2020_peterrec) does and this does too: a patch
    beside or behind each of a layer's two sublayers; a bottleneck of a quarter of the width
    with a tanh GELU; trained are patches, the second norm of each layer and the target's item
    embeddings; scores are dot products. What differs: the encoder (theirs convolves, and
    normalises behind each sublayer, not before it); their patches start near zero, at a
    standard deviation of 0.02, ours at zero; their parallel patches add their own input too,
    ours do not, as then a patched encoder would not start as the pre-trained one; their
    histories lie in the source domain and keep its frozen embeddings, where here both
    histories and candidates are the target's items.

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        embedding_dim: Width of item embeddings and of the encoder.
        num_layers: Transformer layers.
        num_heads: Attention heads.
        dropout: Dropout rate.
        max_length: Longest history that is read.
        patch: ``serial`` patches lie behind their sublayers, ``parallel`` ones beside them.
        patch_width: Width of the patches' bottlenecks; a quarter of the encoder's if not given.
        seed: Seed of initial weights and dropout.
        **kwargs: As for ``TransformerModel``.

    Raises:
        SettingsError: for an unknown ``patch`` or loss.

    Reference: Yuan et al. 2020, "Parameter-Efficient Transfer from Sequential Behaviors for User
    Modeling and Recommendation", https://arxiv.org/abs/2001.04253.

    Example:
        >>> import numpy as np
        >>> source = SASRec(num_items=10, embedding_dim=8, max_length=5)
        >>> model = PeterRec.from_pretrained(source, num_items=6, patch="parallel")
        >>> model.encode_users(np.array([[0, 0, 1, 2, 3]], np.int32)).shape
        TensorShape([1, 8])
    """

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 2,
        dropout: float = 0.2,
        max_length: int = 50,
        patch: Insertion = "serial",
        patch_width: int | None = None,
        seed: int = 0,
        **kwargs: Any,
    ):
        if patch_width is None:
            patch_width = max(1, embedding_dim // 4)
        encoder = PatchedTransformer(
            num_layers=num_layers,
            num_heads=num_heads,
            max_length=max_length,
            dropout=dropout,
            seed=derive_seed(seed, 1),
            patch=patch,
            patch_width=patch_width,
            name="encoder",
        )
        super().__init__(num_items, embedding_dim, encoder, seed, **kwargs)
        self.patch = patch
        self.patch_width = patch_width

    @classmethod
    def from_pretrained(cls, source: SASRec, num_items: int, **options: Any) -> PeterRec:
        """A model for a target domain around a pre-trained one's encoder, which is copied.

        Args:
            source: The pre-trained model; its shape is taken, and its dropout if none is given.
            num_items: Items of the target domain.
            **options: Arguments of the class that are no part of that shape, such as ``patch``,
                ``loss`` and ``seed``.
        """
        shape = ("embedding_dim", "num_layers", "num_heads", "max_length")
        taken = {name: source.get_config()[name] for name in shape}
        model = cls(num_items, **taken, **{"dropout": source.dropout, **options})
        model.take_over(source)
        return model

    def take_over(self, pretrained: SequenceModel) -> None:
        """Takes the encoder of a ``SASRec`` of the same shape, to keep it as it is.

        Raises:
            SettingsError: if it is of another class or shape.
        """
        if not isinstance(pretrained, SASRec):
            raise SettingsError(
                f"PeterRec patches SASRec's encoder, not a {type(pretrained).__name__}'s",
                where="take_over",
                remedy="pre-train a SASRec",
            )
        copy_weights(pretrained.encoder, self.encoder, self.encoder.pretrained_weights)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``, but for the initializer."""
        return {**super().get_config(), "patch": self.patch, "patch_width": self.patch_width}
