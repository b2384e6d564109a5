"""Generated embeddings as the initial values of any ``Embedding`` layer."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from idp_tf.errors import ServingError, SettingsError
from idp_tf.transfer.generate import Norm, find_untitled, generate_embeddings

if TYPE_CHECKING:
    from idp_tf.retrieval import Index
    from idp_tf.text import TextEncoder

SIGNATURE: Final = "serving_default"
_TITLES_AT_ONCE: Final = 256


@keras.saving.register_keras_serializable("idp_tf")
@tf_keras.saving.register_keras_serializable("idp_tf")
class MatchedEmbeddings:
    """A Keras initializer that fills an embedding table with generated embeddings.

    Works for ``Embedding`` of ``tf_keras`` and of Keras 3 alike. The table has a row
    more than there are items: row 0 is padding and starts at zero.

    Args:
        embeddings: Generated embeddings of the items 1 … n, shape (n, d), such as
            ``np.load("embeddings.npy")``.

    Raises:
        SettingsError: if the embeddings are no matrix, or later if the layer's shape is
            not (n + 1, d).

    Example:
        >>> initializer = MatchedEmbeddings(np.array([[1.0, 2.0], [3.0, 4.0]]))
        >>> layer = tf_keras.layers.Embedding(3, 2, embeddings_initializer=initializer)
        >>> layer(np.array([2, 0])).numpy()
        array([[3., 4.],
               [0., 0.]], dtype=float32)
    """

    def __init__(self, embeddings: npt.ArrayLike):
        self.embeddings = np.asarray(embeddings, np.float32)
        if self.embeddings.ndim != 2:
            raise SettingsError(
                f"expected the shape (items, d), got {self.embeddings.shape}", where="embeddings"
            )

    @classmethod
    def from_titles(
        cls,
        titles: Sequence[str],
        *,
        encoder: TextEncoder,
        index: Index,
        source_embeddings: npt.ArrayLike,
        top_m: int,
        norm: Norm = "none",
    ) -> MatchedEmbeddings:
        """Matches titles in this process (eq. 8 and 9).

        Args:
            titles: Titles of the items 1 … n.
            encoder: The matcher's text encoder.
            index: Retrieval over the source items' title vectors.
            source_embeddings: Shape (n_source, d), in the order of the index.
            top_m: How many source items make one item.
            norm: As in ``generate_embeddings``.
        """
        generated = generate_embeddings(
            encoder.encode(titles),
            index,
            source_embeddings,
            top_m=top_m,
            norm=norm,
            untitled=find_untitled(titles),
        )
        return cls(generated.embeddings)

    @classmethod
    def from_saved_model(cls, path: Path | str, titles: Sequence[str]) -> MatchedEmbeddings:
        """Asks an exported matcher.

        Args:
            path: The folder that holds ``saved_model.pb``; its signature
                ``serving_default`` maps ``titles`` (batch,) to ``embedding`` (batch, d).
            titles: Titles of the items 1 … n.

        Raises:
            ServingError: if there is no such SavedModel, or it is no matcher.
            SettingsError: if there are no titles.
        """
        if not titles:
            raise SettingsError("no titles to match", where="titles")
        matcher = _load_matcher(Path(path))
        parts = [
            matcher(titles=tf.constant(list(titles[start : start + _TITLES_AT_ONCE])))
            for start in range(0, len(titles), _TITLES_AT_ONCE)
        ]
        return cls(np.concatenate([part["embedding"].numpy() for part in parts]))

    def __call__(self, shape: Sequence[int], dtype: Any = None, **kwargs: Any) -> Any:
        """The initial table: zeros for padding, then the generated embeddings.

        Raises:
            SettingsError: if ``shape`` is not (n + 1, d).
        """
        items, width = self.embeddings.shape
        if tuple(shape) != (items + 1, width):
            raise SettingsError(
                f"the layer's table has the shape {tuple(shape)}, but there are {items} generated "
                f"embeddings of width {width}",
                where="MatchedEmbeddings",
                remedy=f"make it Embedding({items + 1}, {width}): row 0 is padding",
            )
        table = np.concatenate([np.zeros((1, width), np.float32), self.embeddings])
        return tf.cast(tf.constant(table), dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        """The embeddings themselves, so that a saved model needs no other file."""
        little_endian = self.embeddings.astype("<f4").tobytes()
        return {
            "shape": list(self.embeddings.shape),
            "embeddings": base64.b64encode(little_endian).decode("ascii"),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MatchedEmbeddings:
        """The inverse of ``get_config``."""
        values = np.frombuffer(base64.b64decode(config["embeddings"]), "<f4")
        return cls(values.reshape(config["shape"]))


def _load_matcher(path: Path) -> Any:
    # ScaNN's and TensorFlow Text's ops have to be there before a model that holds them is read.
    import tensorflow_recommenders.layers.factorized_top_k as _scann_ops
    import tensorflow_text as _text_ops

    del _scann_ops, _text_ops
    remedy = "name a version folder of an exported matcher, such as export/matcher/1"
    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, tf.errors.OpError) as error:
        raise ServingError(
            f"no SavedModel can be read: {error}", where=path, remedy=remedy
        ) from error
    signature = loaded.signatures.get(SIGNATURE)
    outputs = signature.structured_outputs if signature is not None else {}
    inputs = signature.structured_input_signature[1] if signature is not None else {}
    if "embedding" not in outputs or set(inputs) != {"titles"}:
        raise ServingError(
            f"the signature '{SIGNATURE}' maps {sorted(inputs)} to {sorted(outputs)}, "
            "expected titles to embedding",
            where=path,
            remedy=remedy,
        )
    # The signature lives only as long as the object that holds its variables.
    signature.keep_alive = loaded
    return signature
