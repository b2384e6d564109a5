"""Titles to generated ID embeddings in a graph (eq. 8 and 9), as the exports share it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from idp_tf.errors import ServingError
from idp_tf.transfer.generate import (
    Blend,
    Norm,
    blend_matches,
    fallback_embedding,
    untitled_strings,
)
from serving.export.ranking import match_ranker

if TYPE_CHECKING:
    from idp_tf.retrieval import Index
    from idp_tf.text import TextEncoder


class TitleMatcher:
    """The text encoder, the source items' title vectors, and their ID embeddings.

    Args:
        encoder: The matcher's text encoder.
        index: Retrieval over the source items' title vectors; its method is the form.
        source_embeddings: Pre-trained ID embeddings in the order of the index, (n_source, d).
        top_m: How many source items make one embedding.
        norm: As in ``generate_embeddings``.

    Raises:
        ServingError: if embeddings and index do not fit.
        SettingsError: if the index cannot give ``top_m`` matches.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        index: Index,
        source_embeddings: npt.ArrayLike,
        top_m: int,
        norm: Norm,
    ):
        sources = np.asarray(source_embeddings, np.float32)
        check_sources("source_embeddings", sources, index.num_vectors)
        # Refuses, in the index' words, what it could not answer in the graph.
        index.query(index.vectors[:1], top_m)
        self.num_sources, self.dim = sources.shape
        self.top_m = top_m
        self.norm: Norm = norm
        self.method = index.method
        self._width = index.width
        self._to_vectors = encoder.title_layer()
        self._find = match_ranker(index)
        self._table = tf.Variable(sources, trainable=False, name="source_embeddings")
        self._fallback = tf.constant(fallback_embedding(sources, norm))

    def __call__(self, titles: tf.Tensor) -> Blend:
        """Strings (n,) -> embeddings (n, d) and matches (n, top_m), best first."""
        # A wrong width would reach ScaNN as an internal error.
        vectors = tf.ensure_shape(self._to_vectors(titles), (None, self._width))
        scores, rows = self._find(vectors, self.top_m)
        return blend_matches(
            scores, rows, untitled_strings(titles), self._table, self._fallback, self.norm
        )


def check_sources(name: str, values: Sequence[object] | npt.NDArray[np.float32], num: int) -> None:
    """Refuses what does not stand beside the index' items, one for each.

    Raises:
        ServingError: naming it.
    """
    if len(values) != num:
        raise ServingError(
            f"{len(values)} of them for {num} indexed titles",
            where=name,
            remedy="leave out the padding row, and keep the order of the index",
        )
