"""What Recformer learns from: every batch is a function of the seed and its place alone.

A batch holds histories of about one length, so that little is padding; which histories
those are is drawn anew in every round, with the item that ends each history.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from idp_tf.data.sequences import Sequences
from idp_tf.data.stream import stream_batches
from idp_tf.errors import SettingsError
from idp_tf.text.recformer.masking import WordMasker
from idp_tf.text.recformer.sentences import ItemSentences, Sentences

_SAMPLE, _TARGETS, _ORDER, _MASKS = range(4)
"""Streams of random numbers under one seed."""

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

_MATRIX = tf.TensorSpec((None, None), tf.int32)
_VECTOR = tf.TensorSpec((None,), tf.int32)
_SENTENCES = dict.fromkeys(("token_ids", "token_types", "item_positions", "padding_mask"), _MATRIX)
_MASKED = {"token_ids": _MATRIX, "places": _VECTOR, "targets": _VECTOR}


class _Round(NamedTuple):
    before: Int32Array
    following: Int32Array
    batches: list[Int64Array]


class Rounds:
    """Histories and the items that came next, in batches of about one length.

    Args:
        sentences: The catalogue.
        histories: Training items of users, whole; those of fewer than two are left out.
        batch_size: Most histories of a batch.
        seed: Seed of everything random here.
        late_half: Whether the item that came next is one of a history's later half (as in
            the official pre-training) or any but the first.
        max_histories: If given, a seeded sample of so many is kept.

    Raises:
        SettingsError: if no history has two items.
    """

    def __init__(
        self,
        sentences: ItemSentences,
        histories: Sequences,
        batch_size: int,
        seed: int,
        *,
        late_half: bool,
        max_histories: int | None = None,
    ):
        users = np.flatnonzero(histories.lengths > 1)
        if not len(users):
            raise SettingsError(
                "no history has two items to learn from", where="recformer", remedy="use more data"
            )
        if max_histories is not None and max_histories < len(users):
            rng = np.random.default_rng([seed, _SAMPLE])
            users = np.sort(rng.choice(users, max_histories, replace=False))
        self._sentences = sentences
        self._histories = histories
        self._users = users
        self._late_half = late_half
        self._seed = seed
        self.num_batches = -(-len(users) // batch_size)
        self._drawn: tuple[int, _Round] | None = None

    @property
    def num_histories(self) -> int:
        """How many histories are learned from."""
        return len(self._users)

    def batch(self, this_round: int, place: int) -> tuple[Int32Array, Int32Array]:
        """Histories, shape (batch, max_items), and the items that came next, shape (batch,)."""
        if self._drawn is None or self._drawn[0] != this_round:
            self._drawn = this_round, self._draw(this_round)
        drawn = self._drawn[1]
        rows = drawn.batches[place]
        return drawn.before[rows], drawn.following[rows]

    def _draw(self, this_round: int) -> _Round:
        counts = self._histories.lengths[self._users]
        low = np.maximum(1, (counts - 1) // 2) if self._late_half else 1
        targets = np.random.default_rng([self._seed, _TARGETS, this_round])
        left_out = counts - targets.integers(low, counts)
        # Of the items before, sentences hold the latest.
        before = self._histories.left_padded(self._users, self._sentences.max_items, left_out)
        following = self._histories.item_from_end(self._users, left_out)
        return _Round(before, following, self._batches(before, this_round))

    def _batches(self, before: Int32Array, this_round: int) -> list[Int64Array]:
        """The rows of each batch, in random order."""
        rng = np.random.default_rng([self._seed, _ORDER, this_round])
        order = rng.permutation(len(before))
        order = order[np.argsort(self._sentences.lengths(before)[order], kind="stable")]
        batches = np.array_split(order, self.num_batches)
        return [batches[i] for i in rng.permutation(self.num_batches)]


class PretrainingBatches:
    """The batches of pre-training: a history, its next item, and both with words hidden.

    Args:
        rounds: Histories and next items.
        sentences: The catalogue.
        masker: Hides words.
        seed: Seed of what is hidden.
    """

    def __init__(self, rounds: Rounds, sentences: ItemSentences, masker: WordMasker, seed: int):
        self._rounds = rounds
        self._sentences = sentences
        self._masker = masker
        self._seed = seed

    def batch(self, step: int) -> dict[str, Any]:
        """``histories``, ``items`` (sentences), ``masked_histories``, ``masked_items``."""
        before, following = self._rounds.batch(*divmod(step, self._rounds.num_batches))
        rng = np.random.default_rng([self._seed, _MASKS, step])
        histories, items = self._sentences.pack(before), self._sentences.pack(following[:, None])
        return {
            "histories": histories,
            "items": items,
            "masked_histories": self._mask(histories, rng),
            "masked_items": self._mask(items, rng),
        }

    def _mask(self, sentences: Sentences, rng: np.random.Generator) -> dict[str, Any]:
        return self._masker.mask(sentences["token_ids"], sentences["padding_mask"], rng)

    def dataset(self, first: int, steps: int) -> Any:
        """A ``tf.data.Dataset`` of the batches of the steps ``first`` … ``steps - 1``."""
        signature: dict[str, Any] = {
            "histories": _SENTENCES,
            "items": _SENTENCES,
            "masked_histories": _MASKED,
            "masked_items": _MASKED,
        }

        def batches() -> Iterator[dict[str, Any]]:
            for step in range(first, steps):
                yield self.batch(step)

        return stream_batches(batches, signature, ahead=2)


class FineTuningBatches:
    """The batches of fine-tuning: a history and the row of its next item.

    Args:
        rounds: Histories and next items; a round is an epoch.
        sentences: The catalogue.
    """

    def __init__(self, rounds: Rounds, sentences: ItemSentences):
        self._rounds = rounds
        self._sentences = sentences
        self.num_batches = rounds.num_batches

    def dataset(self, epoch: int) -> Any:
        """A ``tf.data.Dataset`` of an epoch: ``histories`` (sentences), ``targets`` (batch,)."""

        def batches() -> Iterator[dict[str, Any]]:
            for place in range(self.num_batches):
                before, following = self._rounds.batch(epoch, place)
                yield {"histories": self._sentences.pack(before), "targets": following - 1}

        signature: dict[str, Any] = {"histories": _SENTENCES, "targets": _VECTOR}
        return stream_batches(batches, signature, ahead=2)
