"""Masked language modelling: whole words are hidden, and only they carry the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

SHARE: Final = 0.15
"""Share of a sentence's pieces that are to be told."""

_AS_MASK, _AS_ANOTHER = 0.8, 0.1
"""Of the pieces to be told, so many are hidden and so many replaced; the rest stay."""

MaskedWords = dict[str, npt.NDArray[np.int32]]


@dataclass(frozen=True)
class WordMasker:
    """Hides words of sentences.

    Args:
        inside_word: For each id of the vocabulary, whether it goes on with a word (``##…``).
        mask_id: The id of ``[MASK]``.

    Reference: ``collator.py`` of https://github.com/AaronHeee/RecFormer, BERT's whole-word
        masking.
    """

    inside_word: npt.NDArray[np.bool_]
    mask_id: int

    @classmethod
    def of(cls, tokenizer: Any) -> WordMasker:
        """For a ``keras_hub.models.BertTokenizer``."""
        vocabulary: Sequence[str] = tokenizer.get_vocabulary()
        inside = np.array([piece.startswith("##") for piece in vocabulary])
        return cls(inside, tokenizer.mask_token_id)

    def mask(
        self,
        token_ids: npt.NDArray[np.int32],
        padding_mask: npt.NDArray[np.int32],
        rng: np.random.Generator,
    ) -> MaskedWords:
        """Hides words of each sentence, at least one piece and 15 % of them.

        A word that would go beyond that is passed over. ``[CLS]`` and padding stay.

        Args:
            token_ids: Shape (batch, length).
            padding_mask: 1 for word pieces and 0 for padding, shape (batch, length).
            rng: Where chance comes from.

        Returns:
            ``token_ids``: (batch, length), with words hidden. ``places``: where in the flat
            (batch · length) they are, shape (n,). ``targets``: what they were, shape (n,).
        """
        chosen = [
            row * token_ids.shape[1] + self._choose(ids[: int(mask.sum())], rng)
            for row, (ids, mask) in enumerate(zip(token_ids, padding_mask, strict=True))
        ]
        places = np.concatenate(chosen)
        flat = token_ids.ravel().copy()
        targets = flat[places]
        kind = rng.random(len(places))
        another = rng.integers(len(self.inside_word), size=len(places))
        flat[places] = np.where(kind < _AS_MASK + _AS_ANOTHER, another, targets)
        flat[places[kind < _AS_MASK]] = self.mask_id
        return {
            "token_ids": flat.reshape(token_ids.shape),
            "places": places.astype(np.int32),
            "targets": targets,
        }

    def _choose(
        self, ids: npt.NDArray[np.int32], rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """The places of whole words of one sentence, in order."""
        begins = np.flatnonzero(~self.inside_word[ids[1:]]) + 1
        words = np.split(np.arange(1, len(ids)), begins[begins > 1] - 1)
        left = max(1, round(len(ids) * SHARE))
        chosen = np.zeros(len(ids), bool)
        for word in rng.permutation(len(words)):
            if len(words[word]) <= left:
                chosen[words[word]] = True
                left -= len(words[word])
            if not left:
                break
        return np.flatnonzero(chosen)
