"""Recformer on one catalogue: users and items as vectors of one space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from idp_tf.errors import MissingDataError
from idp_tf.text.folders import whole_folder
from idp_tf.text.recformer.encoder import RecformerEncoder
from idp_tf.text.recformer.in_graph import GraphRecformer
from idp_tf.text.recformer.sentences import ItemSentences

_ENCODER_FOLDER: Final = "encoder"
_ITEMS_FILE: Final = "items.npz"

Float32Array = npt.NDArray[np.float32]


class Recformer:
    """An encoder, a catalogue's sentences and its item vectors.

    It is a scorer as ``idp_tf.evaluation`` wants one: a score is the dot product of a user
    and an item vector, both of length 1, and so their cosine.

    Args:
        encoder: The encoder.
        sentences: The catalogue, from ``encoder.tokenise``.
        item_vectors: Shape (num_items + 1, width), row 0 zeros; ``None`` has the encoder
            give them when they are first asked for.

    Example:
        >>> model = Recformer.of(encoder, ["Gel pens", "Ink for gel pens"])  # doctest: +SKIP
        >>> users = model.encode_users([[0, 1]])  # doctest: +SKIP
        >>> scores = users @ model.item_vectors().T  # doctest: +SKIP
    """

    def __init__(
        self,
        encoder: RecformerEncoder,
        sentences: ItemSentences,
        item_vectors: Float32Array | None = None,
    ):
        self.encoder = encoder
        self.sentences = sentences
        self._item_vectors = item_vectors

    @classmethod
    def of(cls, encoder: RecformerEncoder, titles: Sequence[str]) -> Recformer:
        """On the catalogue of which ``titles[i]`` is the title of item id i + 1.

        Raises:
            SettingsError: if ``title_tokens`` leaves no place for a title.
        """
        return cls(encoder, encoder.tokenise(titles))

    @property
    def num_items(self) -> int:
        """The number of items, padding not counted."""
        return self.sentences.num_items

    @property
    def max_length(self) -> int:
        """How many of a user's last items are read."""
        return self.encoder.max_items

    def encode_users(self, item_ids: npt.ArrayLike) -> Float32Array:
        """Vectors of users.

        Args:
            item_ids: Shape (batch, any length), int32, oldest first, left-padded with 0.

        Returns:
            Shape (batch, width), float32, rows of length 1.
        """
        return self.encoder.encode(self.sentences, item_ids)

    def item_vectors(self) -> Float32Array:
        """Vectors of items as last encoded or set, (num_items + 1, width); row 0 is zeros."""
        if self._item_vectors is None:
            self.encode_items()
        assert self._item_vectors is not None
        return self._item_vectors

    def encode_items(self) -> None:
        """Has the encoder, as it is now, give all item vectors; equal titles get equal ones."""
        one_each, group = self.sentences.alike
        vectors = self.encoder.encode(
            self.sentences, one_each[:, None], "Encoding items for Recformer"
        )
        self.set_item_vectors(vectors[group])

    def set_item_vectors(self, vectors: npt.ArrayLike) -> None:
        """Sets the vectors of items 1 … num_items, shape (num_items, width)."""
        self._item_vectors = np.pad(np.asarray(vectors, np.float32), [(1, 0), (0, 0)])

    def in_graph(self) -> GraphRecformer:
        """What an export takes: the encoder, the catalogue and the item vectors as they are now."""
        return GraphRecformer(self.encoder, self.sentences, self.item_vectors())

    def save(self, folder: Path) -> None:
        """Writes encoder, sentences and item vectors; the folder appears whole or not at all."""
        with whole_folder(Path(folder)) as fresh:
            self.encoder.save(fresh / _ENCODER_FOLDER)
            np.savez(
                fresh / _ITEMS_FILE,
                values=self.sentences.values,
                offsets=self.sentences.offsets,
                num_keys=self.sentences.num_keys,
                vectors=self.item_vectors(),
            )

    @classmethod
    def load(cls, folder: Path) -> Recformer:
        """Reads what ``save`` wrote.

        Raises:
            MissingDataError: if the folder holds no saved Recformer.
        """
        file = Path(folder) / _ITEMS_FILE
        if not file.is_file():
            raise MissingDataError(
                "no saved Recformer is here",
                where=folder,
                remedy="name the folder that Recformer.save wrote",
            )
        encoder = RecformerEncoder.load(Path(folder) / _ENCODER_FOLDER)
        with np.load(file) as stored:
            sentences = ItemSentences(
                stored["values"],
                stored["offsets"],
                encoder.tokenizer.cls_token_id,
                int(stored["num_keys"]),
                encoder.max_items,
                encoder.max_tokens,
            )
            return cls(encoder, sentences, stored["vectors"])
