"""Titles as flat arrays of word pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

_TITLES_AT_ONCE: Final = 20_000


@dataclass(frozen=True)
class TitleTokens:
    """The word pieces of many titles, ``[CLS]`` and ``[SEP]`` included.

    Args:
        values: Token ids of all titles, one after another, int32.
        offsets: Where each title begins, shape (titles + 1,).
    """

    values: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Word pieces of each title."""
        return np.diff(self.offsets)

    def padded(self, rows: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Token ids of some titles, padded on the right with 0 to the longest of them."""
        rows = np.asarray(rows, np.int64)
        position = np.arange(int(self.lengths[rows].max(initial=0)))
        inside = position < self.lengths[rows][:, None]
        index = np.minimum(self.offsets[rows][:, None] + position, len(self.values) - 1)
        return np.where(inside, self.values[index], 0).astype(np.int32)

    def mask(self, rows: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """1 where ``padded`` holds a word piece, 0 where it holds padding."""
        lengths = self.lengths[np.asarray(rows, np.int64)]
        return (np.arange(int(lengths.max(initial=0))) < lengths[:, None]).astype(np.int32)


class TitlePacker:
    """Strings to ``[CLS] word pieces [SEP]``, cut to ``title_length``, in the graph.

    Plain slicing does the cutting: KerasHub's packer would put ``RoundRobinTrim`` into
    exported graphs, which TF-Serving has only from 2.20 on.

    Args:
        tokenizer: A ``keras_hub.models.BertTokenizer``.
        title_length: Most positions of a title, the two special ones included.
    """

    def __init__(self, tokenizer: Any, title_length: int):
        self._tokenizer = tokenizer
        self._title_length = title_length
        self._compiled = tf.function(
            self.__call__, input_signature=[tf.TensorSpec((None,), tf.string)]
        )

    def __call__(self, titles: Any) -> Any:
        """Ragged token ids of strings; to be called inside a ``tf.function``."""
        pieces = self._tokenizer(titles)[:, : self._title_length - 2]
        ends = tf.ones((tf.shape(titles)[0], 1), pieces.dtype)
        start, end = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        return tf.cast(tf.concat([ends * start, pieces, ends * end], axis=1), tf.int32)

    def tokenise(self, titles: Sequence[str]) -> TitleTokens:
        """The word pieces of many titles as flat arrays."""
        values, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
        for start in range(0, len(titles), _TITLES_AT_ONCE):
            ragged = self._compiled(tf.constant(list(titles[start : start + _TITLES_AT_ONCE])))
            values.append(ragged.flat_values.numpy())
            lengths.append(ragged.row_lengths().numpy())
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
        return TitleTokens(np.concatenate(values), offsets)
