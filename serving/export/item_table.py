"""The item vectors of an export, as its graph holds them: as they are, or in fewer bytes."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from idp_tf.errors import SettingsError

TableDtype = Literal["float32", "bfloat16", "int8"]

_MOST: Final = 127


class ItemTable:
    """Vectors of all items, in variables that every signature of an export shares.

    Args:
        vectors: Shape (num_items, dim); row ``i`` belongs to internal id ``i + 1``.
        dtype: What is stored. ``int8`` holds each row as integers from -127 to 127 beside one
            float, its greatest value divided by 127. Scores are float32 whatever is stored:
            for a product with every item the table is widened within the call.

    Raises:
        SettingsError: if the dtype is unknown.

    Example:
        >>> table = ItemTable(np.array([[63.0, 127.0], [0.0, 0.0]], np.float32), "int8")
        >>> table.rows(tf.constant([0])).numpy().tolist(), table.nbytes
        ([[63.0, 127.0]], 12)
    """

    def __init__(self, vectors: npt.NDArray[np.float32], dtype: TableDtype = "float32"):
        if dtype not in get_args(TableDtype):
            raise SettingsError(
                f"unknown dtype {dtype!r} of an item table",
                where="table",
                remedy=f"one of {', '.join(get_args(TableDtype))}",
            )
        self.num_items, self.dim = vectors.shape
        self.dtype = dtype
        self._scales: tf.Variable | None = None
        if dtype == "int8":
            scales = np.abs(vectors).max(axis=1, initial=0) / _MOST
            scales = np.where(scales > 0, scales, 1).astype(np.float32)
            self._values = _variable(np.rint(vectors / scales[:, None]).astype(np.int8))
            self._scales = tf.Variable(scales, trainable=False, name="item_scales")
        else:
            self._values = _variable(tf.cast(vectors, dtype))

    @property
    def nbytes(self) -> int:
        """Bytes of what is stored."""
        parts = [self._values] if self._scales is None else [self._values, self._scales]
        return sum(int(part.numpy().nbytes) for part in parts)

    def rows(self, rows: tf.Tensor) -> tf.Tensor:
        """Vectors of some rows, from 0: any shape -> (…, dim)."""
        found = tf.cast(tf.gather(self._values, rows), tf.float32)
        return found if self._scales is None else found * tf.gather(self._scales, rows)[..., None]

    def scores(self, users: tf.Tensor) -> tf.Tensor:
        """Products with every item: (batch, dim) -> (batch, num_items)."""
        scores = tf.matmul(users, tf.cast(self._values, tf.float32), transpose_b=True)
        return scores if self._scales is None else scores * self._scales[None]


def _variable(values: Any) -> tf.Variable:
    return tf.Variable(values, trainable=False, name="item_vectors")
