"""An adversary that is to tell domains apart: what learns against it forgets which one it is."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras.optimizers.schedules import LearningRateSchedule

from idp_tf.errors import SettingsError
from idp_tf.layers.counted import Counted
from idp_tf.layers.seeds import derive_seed


@tf_keras.utils.register_keras_serializable("idp_tf")
class GrowingStrength(LearningRateSchedule):
    """From 0 to ``most`` over a training: ``most * (2 / (1 + exp(-10 p)) - 1)``.

    ``p`` is the share of ``steps`` that is done; at a quarter of them 0.85 of ``most`` is
    reached. An adversary is noise until it has learned something.

    Args:
        steps: Steps of the training.
        most: What is reached at its end.

    Call arguments: the number of steps done.

    Raises:
        SettingsError: if there is not a step.

    Reference: Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks", section 5.2.2.

    Example:
        >>> schedule = GrowingStrength(steps=100)
        >>> [round(float(schedule(step)), 3) for step in (0, 25, 100)]
        [0.0, 0.848, 1.0]
    """

    def __init__(self, steps: int, most: float = 1.0):
        if steps < 1:
            raise SettingsError(f"a training of {steps} steps", where="steps", remedy="at least 1")
        self.steps = steps
        self.most = most

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The strength after some steps, a scalar."""
        done = tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0)
        return self.most * tf.tanh(5 * done)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {"steps": self.steps, "most": self.most}


@tf_keras.utils.register_keras_serializable("idp_tf")
class GradientReversal(Counted):
    """The identity, whose gradient is turned round and scaled: ``-strength * upstream``.

    Args:
        strength: A number, or a ``tf_keras`` schedule of it by the training calls before this
            one, such as ``GrowingStrength``. The count is saved with the weights.

    Shapes: any in, the same out.

    Reference: Ganin and Lempitsky 2015, https://arxiv.org/abs/1409.7495.

    Example:
        >>> layer, x = GradientReversal(0.5), tf.constant([1.0, 2.0])
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = layer(x, training=True)
        >>> tape.gradient(y, x).numpy().tolist()
        [-0.5, -0.5]
    """

    def __init__(self, strength: float | LearningRateSchedule = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        # A schedule in a config is a dictionary.
        given = isinstance(strength, dict)
        self.strength = tf_keras.saving.deserialize_keras_object(strength) if given else strength

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The inputs; a call in training counts."""
        before = self.calls.assign_add(1) - 1 if training else self.calls
        strength = self.strength
        if isinstance(strength, LearningRateSchedule):
            strength = strength(before)
        return _reverse(inputs, tf.convert_to_tensor(strength))

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        strength = self.strength
        if isinstance(strength, LearningRateSchedule):
            strength = tf_keras.saving.serialize_keras_object(strength)
        return {**super().get_config(), "strength": strength}


@tf.custom_gradient
def _reverse(inputs: tf.Tensor, strength: tf.Tensor) -> tuple[tf.Tensor, Any]:
    def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        return -tf.cast(strength, upstream.dtype) * upstream, None

    return tf.identity(inputs), backward


@tf_keras.utils.register_keras_serializable("idp_tf")
class DomainClassifier(tf_keras.layers.Layer):
    """Tells by a vector which domain it is of; what made the vector learns to hide that.

    A ``GradientReversal`` and a network of one hidden layer. Minimising its cross-entropy trains
    this network to tell domains apart and, through the reversal, whatever lies before it to
    make them alike.

    For DACDR (Zhang et al. 2021, "A Deep Dual Adversarial Network for Cross-Domain
    Recommendation", TKDE, doi 10.1109/TKDE.2021.3132953), of which no code was found and the
    abstract was read: encoders that the domains share are trained against a domain
    discriminator, for users and for items alike, and the encoders of each domain have an
    orthogonal constraint (``orthogonality`` in ``idp_tf.representation_losses``). Not verified,
    and decided here: a reversed gradient rather than alternating steps; this network's shape;
    cross-entropy over any number of domains, where theirs are two.

    Args:
        num_domains: Domains to tell apart.
        hidden_dim: Width of the hidden layer.
        strength: Of the reversal, see ``GradientReversal``.
        seed: Seed of the initial weights.

    Shapes: (…, dim) in; (…, num_domains) logits out.

    Example:
        >>> DomainClassifier(num_domains=3)(tf.ones((5, 8))).shape
        TensorShape([5, 3])
    """

    def __init__(
        self,
        num_domains: int,
        hidden_dim: int = 64,
        strength: float | LearningRateSchedule = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_domains = num_domains
        self.hidden_dim = hidden_dim
        self.seed = seed
        self.reversal = GradientReversal(strength)
        glorot = tf_keras.initializers.GlorotUniform
        self.hidden = tf_keras.layers.Dense(
            hidden_dim, activation="relu", kernel_initializer=glorot(derive_seed(seed, 0))
        )
        self.logits = tf_keras.layers.Dense(
            num_domains, kernel_initializer=glorot(derive_seed(seed, 1))
        )

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Classifies; see the class."""
        return self.logits(self.hidden(self.reversal(inputs, training=training)))

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``."""
        return {
            **super().get_config(),
            "num_domains": self.num_domains,
            "hidden_dim": self.hidden_dim,
            "strength": self.reversal.get_config()["strength"],
            "seed": self.seed,
        }
