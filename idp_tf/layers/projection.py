"""Fixed linear adaptors of title vectors: PCA and whitening."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from idp_tf.errors import SettingsError

Float32Array = npt.NDArray[np.float32]


def fit_pca(vectors: npt.ArrayLike, dim: int) -> tuple[Float32Array, Float32Array]:
    """The directions in which vectors vary most, by which all of a kind can be shortened.

    Args:
        vectors: (n, width); leave padding and items without a title out.
        dim: Directions to keep, at most ``width``.

    Returns:
        mean: (width,).
        matrix: (width, dim); ``(vectors - mean) @ matrix`` is the projection, most variance
            first. In each column the largest number by magnitude is positive.

    Raises:
        SettingsError: if the vectors are no matrix, too few or too narrow.

    Example:
        >>> mean, matrix = fit_pca([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]], 1)
        >>> mean.tolist(), matrix.ravel().tolist()
        ([2.0, 1.0], [1.0, 0.0])
    """
    values = np.asarray(vectors, np.float64)
    if values.ndim != 2 or len(values) < 2 or not 1 <= dim <= values.shape[1]:
        raise SettingsError(
            f"cannot keep {dim} directions of vectors of the shape {values.shape}",
            where="fit_pca",
            remedy="give at least two vectors, and at most their width as dim",
        )
    mean = values.mean(axis=0)
    _, axes = np.linalg.eigh(np.atleast_2d(np.cov(values, rowvar=False)))
    axes = axes[:, ::-1][:, :dim]
    axes = axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0))
    return mean.astype(np.float32), axes.astype(np.float32)


@tf_keras.utils.register_keras_serializable("idp_tf")
class FixedProjection(tf_keras.layers.Layer):
    """``(inputs - mean) @ matrix``, which no training changes; an adaptor for ``TitleItems``.

    Args:
        mean: (width,), as ``fit_pca`` gives it.
        matrix: (width, dim).

    Call arguments:
        inputs: (…, width).

    Returns:
        (…, dim).

    Raises:
        SettingsError: if the shapes do not fit.

    Example:
        >>> layer = FixedProjection([1.0, 1.0], [[2.0], [0.0]])
        >>> layer(tf.constant([[3.0, 9.0]])).numpy().tolist()
        [[4.0]]
    """

    def __init__(self, mean: npt.ArrayLike, matrix: npt.ArrayLike, **kwargs: Any):
        super().__init__(**kwargs)
        means, columns = np.asarray(mean, np.float32), np.asarray(matrix, np.float32)
        if columns.ndim != 2 or means.shape != columns.shape[:1]:
            raise SettingsError(
                f"a mean of the shape {means.shape} for a matrix of {columns.shape}",
                where="FixedProjection",
                remedy="give what fit_pca gave: (width,) and (width, dim)",
            )
        self.mean = self._add_fixed("mean", means)
        self.matrix = self._add_fixed("matrix", columns)

    def _add_fixed(self, name: str, values: Float32Array) -> tf.Variable:
        return self.add_weight(
            name=name,
            shape=values.shape,
            initializer=tf_keras.initializers.Constant(values),
            trainable=False,
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Projects; see the class."""
        return tf.tensordot(inputs - self.mean, self.matrix, axes=1)

    def get_config(self) -> dict[str, Any]:
        """Of mean and matrix the shape alone; their values are in the weights."""
        return {**super().get_config(), "shape": list(self.matrix.shape)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FixedProjection:
        """A layer of that shape, all zeros until weights are loaded."""
        rest = dict(config)
        width, dim = rest.pop("shape")
        return cls(np.zeros(width), np.zeros((width, dim)), **rest)


@tf_keras.utils.register_keras_serializable("idp_tf")
class CentredDirection(tf_keras.layers.Layer):
    """``(inputs - mean)``, scaled to length 1; zeros, of items without a title, stay zeros.

    Vectors of titles have much in common, and more so those of one catalogue. Without what they
    share, their cosines tell more. An adaptor for ``TitleItems`` that nothing trains.

    Args:
        mean: (width,), that of the catalogue's titles.

    Shapes: (…, width) in, the same out.

    Example:
        >>> layer = CentredDirection([1.0, 1.0])
        >>> layer(tf.constant([[4.0, 5.0], [0.0, 0.0]])).numpy().round(2)
        array([[0.6, 0.8],
               [0. , 0. ]], dtype=float32)
    """

    def __init__(self, mean: npt.ArrayLike, **kwargs: Any):
        super().__init__(**kwargs)
        means = np.asarray(mean, np.float32)
        self.mean = self.add_weight(
            name="mean",
            shape=means.shape,
            initializer=tf_keras.initializers.Constant(means),
            trainable=False,
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Centres and scales; see the class."""
        there = tf.reduce_any(tf.not_equal(inputs, 0), axis=-1, keepdims=True)
        return tf.where(there, tf.math.l2_normalize(inputs - self.mean, axis=-1), 0)

    def get_config(self) -> dict[str, Any]:
        """Of the mean its width alone; its values are in the weights."""
        return {**super().get_config(), "width": int(self.mean.shape[0])}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CentredDirection:
        """A layer of that width, whose mean is zero until weights are loaded."""
        rest = dict(config)
        return cls(np.zeros(rest.pop("width")), **rest)
