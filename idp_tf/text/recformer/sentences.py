"""Histories as sentences: ``[CLS]``, then each item's key and title, the latest item first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.errors import SettingsError
from idp_tf.text.tokens import TitlePacker

KEY: Final = "title"
"""The one attribute that items have here; its name stands before its value."""

CLS_TYPE, KEY_TYPE, VALUE_TYPE = range(3)
NUM_TYPES: Final = 3

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Sentences = dict[str, Int32Array]
"""``token_ids``, ``token_types``, ``item_positions`` and ``padding_mask``, each (batch, length)."""


@dataclass(frozen=True)
class ItemSentences:
    """A catalogue's items as word pieces, and histories of them as sentences.

    Args:
        values: The pieces of all items, one item after another, int32.
        offsets: Where the pieces of item id 0 (padding: none), 1, 2, … begin,
            shape (num_items + 2,).
        cls_id: The id of ``[CLS]``.
        num_keys: How many of an item's pieces are the key.
        max_items: Most items of a sentence; older ones are left out.
        max_tokens: Most pieces of a sentence; what comes after is cut.

    Reference: ``recformer/tokenization.py`` of https://github.com/AaronHeee/RecFormer, with
        one attribute. Padding is masked there and here; it has no type of its own here.
    """

    values: Int32Array
    offsets: Int64Array
    cls_id: int
    num_keys: int
    max_items: int
    max_tokens: int

    @property
    def num_items(self) -> int:
        """The number of items, padding not counted."""
        return len(self.offsets) - 2

    @property
    def item_lengths(self) -> Int64Array:
        """Pieces of each item id, shape (num_items + 1,); 0 for id 0."""
        return np.diff(self.offsets)

    @cached_property
    def alike(self) -> tuple[Int32Array, Int64Array]:
        """One id of each group of items of equal pieces, and each item's group from id 1 on."""
        pieces = np.split(self.values, self.offsets[2:-1])
        keys = np.array([item.tobytes() for item in pieces], dtype=object)
        _, first, group = np.unique(keys, return_index=True, return_inverse=True)
        return (first + 1).astype(np.int32), group

    def lengths(self, item_ids: npt.ArrayLike) -> Int64Array:
        """How long the sentences of some histories are, ``[CLS]`` included; shape (batch,)."""
        return 1 + self._cut(self._latest_first(item_ids))[1].sum(axis=1)

    def pack(self, item_ids: npt.ArrayLike) -> Sentences:
        """The sentences of some histories, padded on the right to the longest.

        Args:
            item_ids: Shape (batch, any length), oldest first, left-padded with 0.

        Returns:
            Four arrays of shape (batch, length). Item positions are 0 for ``[CLS]`` and 1
            for the latest item.

        Example:
            >>> one = ItemSentences(np.array([9, 4, 9, 5, 6]), np.array([0, 0, 2, 5]), 1, 1, 3, 5)
            >>> one.pack([[0, 1, 2]])["token_ids"].tolist()
            [[1, 9, 5, 6, 9]]
        """
        items = self._latest_first(item_ids)
        starts, kept = self._cut(items)
        counts = kept.ravel()
        rows, columns = np.divmod(np.repeat(np.arange(counts.size), counts), items.shape[1])
        piece = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        places = rows, starts[rows, columns] + piece
        packed = np.zeros((4, len(items), int(kept.sum(axis=1).max(initial=0)) + 1), np.int32)
        token_ids, token_types, item_positions, padding_mask = packed
        token_ids[:, 0], padding_mask[:, 0] = self.cls_id, 1
        token_ids[places] = self.values[self.offsets[items[rows, columns]] + piece]
        token_types[places] = np.where(piece < self.num_keys, KEY_TYPE, VALUE_TYPE)
        item_positions[places] = columns + 1
        padding_mask[places] = 1
        return {
            "token_ids": token_ids,
            "token_types": token_types,
            "item_positions": item_positions,
            "padding_mask": padding_mask,
        }

    def _latest_first(self, item_ids: npt.ArrayLike) -> Int64Array:
        return np.asarray(item_ids, np.int64)[:, ::-1][:, : self.max_items]

    def _cut(self, items: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Where each item of a sentence begins, and how many of its pieces are read."""
        lengths = self.item_lengths[items]
        starts = 1 + np.cumsum(lengths, axis=1) - lengths
        return starts, np.clip(self.max_tokens - starts, 0, lengths)


def tokenise_items(
    tokenizer: Any, titles: Sequence[str], *, max_items: int, title_tokens: int, max_tokens: int
) -> ItemSentences:
    """The sentences of a catalogue.

    Args:
        tokenizer: A ``keras_hub.models.BertTokenizer``.
        titles: ``titles[i]`` is that of item id i + 1; of one without, the key remains.
        max_items: Most items of a history that are read.
        title_tokens: Most word pieces of an item, the key's included.
        max_tokens: Most word pieces of a history, ``[CLS]`` included.

    Raises:
        SettingsError: if ``title_tokens`` leaves no place for a title after the key.
    """
    packer = TitlePacker(tokenizer, title_tokens + 2)
    num_keys = int(packer.tokenise([KEY]).lengths[0]) - 2
    if title_tokens <= num_keys:
        raise SettingsError(
            f"title_tokens is {title_tokens}, of which the key '{KEY}' takes {num_keys}",
            where="recformer.title_tokens",
            remedy="set it higher",
        )
    tokens = packer.tokenise([f"{KEY} {title}" for title in titles])
    inner = np.ones(len(tokens.values), bool)
    # Each title has its own [CLS] and [SEP], which a sentence has not.
    inner[tokens.offsets[:-1]] = inner[tokens.offsets[1:] - 1] = False
    offsets = tokens.offsets - 2 * np.arange(len(tokens.offsets))
    return ItemSentences(
        tokens.values[inner],
        np.concatenate([[0], offsets]),
        tokenizer.cls_token_id,
        num_keys,
        max_items,
        max_tokens,
    )
