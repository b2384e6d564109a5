"""Model patches: small layers that adapt a transformer whose own weights stay as they are."""

from __future__ import annotations

from typing import Any, Final, Literal

import tensorflow as tf
import tf_keras

from idp_tf.errors import SettingsError
from idp_tf.layers.freezing import PartlyFrozen
from idp_tf.layers.seeds import derive_seed
from idp_tf.layers.transformer import CausalBlock, CausalTransformer

Insertion = Literal["serial", "parallel"]

INSERTIONS: Final = ("serial", "parallel")
"""Where a patch gets its input: behind its sublayer, or beside it."""


@tf_keras.utils.register_keras_serializable("idp_tf")
class ModelPatch(tf_keras.layers.Layer):
    """A bottleneck, ``up(gelu(down(x)))``, whose result is added to a sublayer's output.

    At the start ``up`` is zero, so that a patched network gives exactly what it gave before.

    Args:
        width: Width of the bottleneck.
        seed: Seed of ``down``'s initial weights.

    Shapes: (…, dim) in, the same out.

    Reference: PeterRec's bottleneck without its shortcut, which
    ``PatchedTransformer`` adds; GELU by tanh as in the official code.

    Example:
        >>> float(tf.reduce_max(tf.abs(ModelPatch(4)(tf.ones((2, 3, 8))))))
        0.0
    """

    def __init__(self, width: int, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.width = width
        self.seed = seed

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the two projections."""
        self.down = tf_keras.layers.Dense(
            self.width,
            kernel_initializer=tf_keras.initializers.TruncatedNormal(
                stddev=0.02, seed=derive_seed(self.seed, 0)
            ),
            name="down",
        )
        self.up = tf_keras.layers.Dense(int(input_shape[-1]), kernel_initializer="zeros", name="up")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The correction; see the class."""
        return self.up(tf.nn.gelu(self.down(inputs), approximate=True))

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {**super().get_config(), "width": self.width, "seed": self.seed}


@tf_keras.utils.register_keras_serializable("idp_tf")
class PatchedTransformer(PartlyFrozen, CausalTransformer):
    """A ``CausalTransformer`` that is frozen, with a patch at each sublayer that is not.

    A sublayer F of input x becomes, before dropout and residual,

    - serial: ``F(x) + patch(F(x))``,
    - parallel: ``F(x) + patch(x)``.

    Trained are the patches, the norm before each layer's network and the output norm; positions,
    attention, networks and the other norms are not. ``pretrained_weights`` are all but the
    patches'.

    Args:
        patch: ``serial`` or ``parallel``.
        patch_width: Width of the patches' bottlenecks.
        **kwargs: ``CausalTransformer``'s arguments; its weights and dropout masks are those
            of a ``CausalTransformer`` of the same seed.

    Call arguments and result: as ``CausalTransformer``'s.

    Raises:
        SettingsError: for an unknown ``patch``, or a bottleneck with no width.

    Reference: Yuan et al. 2020, "Parameter-Efficient Transfer from Sequential Behaviors for User
    Modeling and Recommendation", https://arxiv.org/abs/2001.04253. Their encoder is a dilated
    convolution network, so what the two sublayers of a layer are is ours.

    Example:
        >>> shape = {"num_layers": 1, "num_heads": 2, "max_length": 5}
        >>> inputs, mask = tf.ones((2, 5, 8)), tf.ones((2, 5), tf.bool)
        >>> patched = PatchedTransformer(**shape, patch="parallel", patch_width=2)(inputs, mask)
        >>> bool(tf.reduce_all(patched == CausalTransformer(**shape)(inputs, mask)))
        True
    """

    def __init__(self, *, patch: Insertion = "serial", patch_width: int = 16, **kwargs: Any):
        super().__init__(**kwargs)
        if patch not in INSERTIONS:
            raise SettingsError(
                f"unknown insertion {patch!r}",
                where="patch",
                remedy=f"known: {', '.join(INSERTIONS)}",
            )
        if patch_width < 1:
            raise SettingsError(
                f"a bottleneck of width {patch_width}", where="patch_width", remedy="at least 1"
            )
        self.patch = patch
        self.patch_width = patch_width

    def build_block(self, number: int) -> CausalBlock:
        """The layer with a number, with its two patches."""
        return _PatchedBlock(
            self.patch,
            self.patch_width,
            self.num_heads,
            self.dropout,
            derive_seed(self.seed, 2 + number),
            name=f"block_{number}",
        )

    @property
    def pretrained_weights(self) -> list[tf.Variable]:
        """What a ``CausalTransformer`` has as ``trainable_weights``, in the same order."""
        patches = {id(weight) for block in self.blocks for weight in block.patch_weights()}
        return [weight for weight in self.learned_weights if id(weight) not in patches]

    def tuned_weights(self) -> list[tf.Variable]:
        """Of the patches and of the norms that are tuned."""
        blocks = [block for block in getattr(self, "blocks", ()) if block.built]
        weights = [weight for block in blocks for weight in block.tuned_weights()]
        return [*weights, *self.output_norm.weights] if blocks else []

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {**super().get_config(), "patch": self.patch, "patch_width": self.patch_width}


class _PatchedBlock(CausalBlock):
    """A transformer layer with a patch at its attention and one at its network."""

    def __init__(self, patch: Insertion, patch_width: int, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.serial = patch == "serial"
        # The block's own parts take the paths 0 to 5.
        self.attention_patch = ModelPatch(patch_width, derive_seed(self.seed, 6))
        self.network_patch = ModelPatch(patch_width, derive_seed(self.seed, 7))

    def patch_weights(self) -> list[tf.Variable]:
        return [*self.attention_patch.weights, *self.network_patch.weights]

    def tuned_weights(self) -> list[tf.Variable]:
        return [*self.patch_weights(), *self.network_norm.weights]

    def adapt_attention(self, inputs: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        return outputs + self.attention_patch(outputs if self.serial else inputs)

    def adapt_network(self, inputs: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        return outputs + self.network_patch(outputs if self.serial else inputs)
