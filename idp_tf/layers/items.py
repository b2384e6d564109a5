"""Item representations: how items become vectors, by their ids or by their titles.

A model takes one as ``items``. They combine: ``SummedItems`` and ``JoinedItems`` are made of
one of each (``idp_tf.layers.combined_items``).
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from idp_tf.data.schema import PAD_ID
from idp_tf.errors import SettingsError
from idp_tf.layers.embedding import ItemEmbedding

_INITIAL_STDDEV: Final = 0.02
_ROWS_AT_ONCE: Final = 65_536
"""Rows of a whole table that go through an adaptor together: what it holds meanwhile is bounded."""


class ItemLayer(Protocol):
    """What a model needs of its items, a Keras layer.

    Attributes:
        num_items: Items 1 … num_items; 0 is padding.
        dim: The width of the vectors.
        ids: The table of trained vectors, or None if there is none.
        adaptor: What makes vectors of titles, or None if titles are not read.
    """

    num_items: int
    dim: int

    @property
    def ids(self) -> ItemEmbedding | None:
        """See the class."""
        ...

    @property
    def adaptor(self) -> tf_keras.layers.Layer | None:
        """See the class."""
        ...

    def __call__(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Vectors of some items: int32 ids (batch, …) -> (batch, …, dim)."""
        ...

    def table(self, training: bool | None = None) -> tf.Tensor:
        """Vectors of all, (num_items + 1, dim); row 0 is padding and may hold anything."""
        ...


@tf_keras.utils.register_keras_serializable("idp_tf")
class IdItems(ItemEmbedding):
    """A trained vector for each item id.

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        dim: Width of the vectors.
        embeddings_initializer: Initializer of the (num_items + 1, dim) table, such as
            ``MatchedEmbeddings``; otherwise normal with standard deviation 0.02. No config
            holds it: the values of a saved layer are in its weights.
        seed: Seed of the otherwise normal table.

    Call arguments:
        item_ids: int32, any shape.

    Returns:
        (…, dim).

    Example:
        >>> items = IdItems(num_items=3, dim=2)
        >>> items(np.array([[1, 3]])).shape, items.table().shape
        (TensorShape([1, 2, 2]), TensorShape([4, 2]))
    """

    adaptor: None = None

    def __init__(
        self,
        num_items: int,
        dim: int,
        embeddings_initializer: Any = None,
        seed: int = 0,
        **kwargs: Any,
    ):
        normal = tf_keras.initializers.RandomNormal(stddev=_INITIAL_STDDEV, seed=seed)
        super().__init__(
            num_items + 1, dim, embeddings_initializer=embeddings_initializer or normal, **kwargs
        )
        self.num_items = num_items
        self.dim = dim
        self.seed = seed
        # The whole table may be asked for before any look-up.
        with tf.name_scope(self.name):
            self.build(None)

    @property
    def ids(self) -> ItemEmbedding:
        """This layer."""
        return self

    def call(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Looks up; see the class."""
        return super().call(item_ids)

    def table(self, training: bool | None = None) -> tf.Tensor:
        """Vectors of all items, (num_items + 1, dim); row 0 is padding."""
        return tf.convert_to_tensor(self.embeddings)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``, but for the initializer."""
        return {
            "name": self.name,
            "num_items": self.num_items,
            "dim": self.dim,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> IdItems:
        """The inverse of ``get_config``, with fresh values."""
        return cls(**config)


@tf_keras.utils.register_keras_serializable("idp_tf")
class TitleItems(tf_keras.layers.Layer):
    """Vectors made of the items' titles: what a text encoder gave, through a trained adaptor.

    The title vectors are frozen, and saved with the weights: a saved model is whole. They are
    looked up before the adaptor, which meets each item of a look-up once wherever it stands: a
    step costs what its own items cost. An adaptor's dropout is so drawn once for an item and
    look-up.

    Args:
        title_vectors: Row ``i`` belongs to item id ``i``, (num_items + 1, width), such as
            ``np.load("titles.npy", mmap_mode="r")``; row 0 is padding, all zeros.
        dim: Width of the vectors.
        adaptor: A layer from (…, width) to (…, dim), such as ``FixedProjection``; a ``Dense``
            layer if not given. One that takes ``training`` is told.
        seed: Seed of that ``Dense`` layer's kernel.

    Call arguments:
        item_ids: int32, (batch, …).
        training: Whether the adaptor is being trained.

    Returns:
        (batch, …, dim). Zeros go through the adaptor too: an item without a title gets
        what that makes of zeros, such as the bias.

    Raises:
        SettingsError: if there are no title vectors, they are no finite matrix, their first
            row is not that of padding, or the adaptor gives another width than ``dim``.

    Reference: Hou et al. 2022 (UniSRec), section 2.2, https://arxiv.org/abs/2206.05941.

    Example:
        >>> items = TitleItems([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dim=2)
        >>> items(np.array([[1, 2]])).shape, items.table().shape
        (TensorShape([1, 2, 2]), TensorShape([3, 2]))
    """

    ids: None = None

    def __init__(
        self,
        title_vectors: npt.ArrayLike | None,
        dim: int,
        adaptor: tf_keras.layers.Layer | None = None,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        values = _checked_titles(title_vectors)
        self.num_items = len(values) - 1
        self.dim = dim
        self.titles = _TitleTable(values, name="titles")
        self.adaptor = adaptor or tf_keras.layers.Dense(
            dim,
            kernel_initializer=tf_keras.initializers.GlorotUniform(seed),
            name="adaptor",
        )
        width = self(tf.constant([PAD_ID])).shape[-1]
        if width != dim:
            raise SettingsError(
                f"it gives vectors of width {width}, not dim={dim}",
                where="adaptor",
                remedy="make both the same",
            )

    def call(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Looks up and adapts; Keras hands ``training`` on to the adaptor."""
        distinct, places = tf.unique(tf.reshape(item_ids, [-1]))
        vectors = tf.gather(self.adaptor(self.titles(distinct)), places)
        return tf.reshape(vectors, tf.concat([tf.shape(item_ids), [vectors.shape[-1]]], axis=0))

    def table(self, training: bool | None = None) -> tf.Tensor:
        """Vectors of all items, (num_items + 1, dim); row 0 is what is made of padding."""
        rows = tf.range(self.num_items + 1)
        starts = range(0, self.num_items + 1, _ROWS_AT_ONCE)
        parts = [self(rows[start : start + _ROWS_AT_ONCE], training=training) for start in starts]
        # As exact as a table of ids, whatever the adaptor reckons with.
        return tf.cast(tf.concat(parts, axis=0), self.variable_dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``, but of the title vectors their shape alone."""
        return {
            **super().get_config(),
            "shape": [self.titles.input_dim, self.titles.output_dim],
            "dim": self.dim,
            "adaptor": tf_keras.layers.serialize(self.adaptor),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TitleItems:
        """A layer of that shape, whose titles are zeros until weights are loaded."""
        rest = dict(config)
        zeros = np.broadcast_to(np.float32(0), rest.pop("shape"))
        return cls(zeros, adaptor=tf_keras.layers.deserialize(rest.pop("adaptor")), **rest)


class _TitleTable(ItemEmbedding):
    """A table that nothing trains, not even where ``trainable`` is set."""

    def __init__(self, values: npt.NDArray[np.float32], **kwargs: Any):
        super().__init__(*values.shape, **kwargs)
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=values.shape,
            initializer=lambda shape, dtype=None, **_: tf.constant(values, dtype),
            trainable=False,
            experimental_autocast=False,
        )
        self.built = True


def _checked_titles(title_vectors: npt.ArrayLike | None) -> npt.NDArray[np.float32]:
    """Title vectors as a float32 matrix."""
    where, remedy = "title_vectors", "give a row for each item id, after a row of zeros for padding"
    if title_vectors is None:
        raise SettingsError(
            "there are none, and items are to be represented by their titles",
            where=where,
            remedy=f"{remedy}; data without titles takes a system that reads ids alone",
        )
    values = np.asarray(title_vectors, np.float32)
    if values.ndim != 2 or not values.size:
        raise SettingsError(
            f"expected the shape (num_items + 1, width), got {values.shape}",
            where=where,
            remedy=remedy,
        )
    if values[PAD_ID].any():
        raise SettingsError(
            "the first row is that of padding, but is not zero", where=where, remedy=remedy
        )
    if not np.isfinite(values).all():
        raise SettingsError("a value is NaN or infinite", where=where, remedy="encode them again")
    return values
