"""Items that are represented by their ids and their titles together."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.errors import SettingsError
from idp_tf.layers.items import IdItems, TitleItems


class _IdsAndTitles(tf_keras.layers.Layer):
    """What representations made of two parts share."""

    def __init__(self, ids: IdItems, titles: TitleItems, **kwargs: Any):
        super().__init__(**kwargs)
        if ids.num_items != titles.num_items:
            raise SettingsError(
                f"there are title vectors of {titles.num_items} items for {ids.num_items} ids",
                where="items",
                remedy=f"give {ids.num_items + 1} title vectors, the first of them padding's",
            )
        self.num_items = ids.num_items
        self.ids = ids
        self.titles = titles

    @property
    def adaptor(self) -> tf_keras.layers.Layer:
        """What makes vectors of titles."""
        return self.titles.adaptor

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__``; values of both parts are in their weights."""
        return {
            **super().get_config(),
            "ids": tf_keras.layers.serialize(self.ids),
            "titles": tf_keras.layers.serialize(self.titles),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _IdsAndTitles:
        """The inverse of ``get_config``, with other values until weights are loaded."""
        parts = {name: tf_keras.layers.deserialize(config[name]) for name in ("ids", "titles")}
        return cls(**{**config, **parts})


@tf_keras.utils.register_keras_serializable("idp_tf")
class SummedItems(_IdsAndTitles):
    """An item's vector is that of its id plus that of its title ("ID + text").

    Args:
        ids: The part that is learned for each item.
        titles: The part that is made of titles, of the same items and as wide.

    Call arguments:
        item_ids: int32, (batch, …).
        training: Whether the titles' adaptor is being trained.

    Returns:
        (batch, …, dim).

    Raises:
        SettingsError: if the parts differ in their number of items or their width.

    Reference: Hou et al. 2022 (UniSRec), eq. 12, https://arxiv.org/abs/2206.05941;
    ID-centric Pre-training, section 3.3.

    Example:
        >>> titles = TitleItems([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]], dim=2)
        >>> SummedItems(IdItems(1, 2), titles)(tf.constant([[1]])).shape
        TensorShape([1, 1, 2])
    """

    def __init__(self, ids: IdItems, titles: TitleItems, **kwargs: Any):
        super().__init__(ids, titles, **kwargs)
        if ids.dim != titles.dim:
            raise SettingsError(
                f"vectors of ids are {ids.dim} wide, those of titles {titles.dim}",
                where="items",
                remedy="give both the same dim",
            )
        self.dim = ids.dim

    def call(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Adds; see the class."""
        return self.ids(item_ids) + self.titles(item_ids, training=training)

    def table(self, training: bool | None = None) -> tf.Tensor:
        """Vectors of all items, (num_items + 1, dim); row 0 is what is made of padding."""
        return self.ids.table() + self.titles.table(training=training)


@tf_keras.utils.register_keras_serializable("idp_tf")
class JoinedItems(_IdsAndTitles):
    """An item's vector is that of its id with that of its title after it.

    For encoders that read the two apart, such as FDSA's.

    Args:
        ids: The part that is learned for each item.
        titles: The part that is made of titles, of the same items.

    Call arguments:
        item_ids: int32, (batch, …).
        training: Whether the titles' adaptor is being trained.

    Returns:
        (batch, …, dim), where ``dim`` is that of both parts together.

    Raises:
        SettingsError: if the parts differ in their number of items.

    Example:
        >>> titles = TitleItems([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]], dim=2)
        >>> JoinedItems(IdItems(1, 2), titles)(tf.constant([[1]])).shape
        TensorShape([1, 1, 4])
    """

    def __init__(self, ids: IdItems, titles: TitleItems, **kwargs: Any):
        super().__init__(ids, titles, **kwargs)
        self.dim = ids.dim + titles.dim

    def call(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Joins; see the class."""
        parts = [self.ids(item_ids), self.titles(item_ids, training=training)]
        return tf.concat(parts, axis=-1)

    def table(self, training: bool | None = None) -> tf.Tensor:
        """Vectors of all items, (num_items + 1, dim); row 0 is what is made of padding."""
        return tf.concat([self.ids.table(), self.titles.table(training=training)], axis=-1)
