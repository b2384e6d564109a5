"""The matcher as a SavedModel: titles in, generated ID embeddings and their matches out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from idp_tf.errors import ServingError
from idp_tf.transfer.generate import (
    Norm,
    blend_matches,
    fallback_embedding,
    untitled_strings,
)
from serving.export.ranking import match_ranker
from serving.export.saving import Signature, texts_digest, write_saved_model
from serving.saved_models import SERVING_DEFAULT

if TYPE_CHECKING:
    from idp_tf.retrieval import Index
    from idp_tf.text import TextEncoder

MATCHER: Final = "matcher"
MATCHER_SCANN: Final = "matcher_scann"

_ABOUT: Final = (
    "Titles of items never seen in, their generated ID embeddings and the matched source items out."
)
_INPUTS: Final = (tf.TensorSpec((None,), tf.string, name="titles"),)


def export_matcher(
    encoder: TextEncoder,
    index: Index,
    source_embeddings: npt.ArrayLike,
    source_item_ids: Sequence[str],
    folder: str | Path,
    *,
    top_m: int,
    norm: Norm,
) -> Path:
    """Writes the next version of ``matcher``, or of ``matcher_scann``, under ``folder``.

    The signature ``serving_default`` takes ``titles`` (batch,) string and gives
    ``embedding`` (batch, d), the matched ``source_item_ids`` (batch, top_m) string, their
    ``scores`` (eq. 8) and ``weights`` (eq. 9), best first. A blank title gets the mean
    source embedding, with ids "" and scores and weights 0. Where ScaNN finds fewer than
    ``top_m`` items, the title is answered exactly, as in process.

    Args:
        encoder: The matcher's text encoder.
        index: Retrieval over the source items' title vectors; its method is the form.
        source_embeddings: Pre-trained ID embeddings in the order of the index, (n_source, d).
        source_item_ids: Their ids, unique across domains (``MergedDomains.external_ids``).
        folder: The export folder, ``<folder>/<name>/<version>/`` is made.
        top_m: How many source items make one embedding.
        norm: As in ``generate_embeddings``.

    Returns:
        The version's folder.

    Raises:
        ServingError: if ids, embeddings and index do not fit.
        SettingsError: if the index cannot give ``top_m`` matches.
    """
    sources = np.asarray(source_embeddings, np.float32)
    if not len(sources) == len(source_item_ids) == index.num_vectors:
        raise ServingError(
            f"{len(source_item_ids)} source item ids, {len(sources)} embeddings and "
            f"{index.num_vectors} indexed titles",
            where="source_item_ids",
            remedy="leave out the padding row, and keep the order of the index",
        )
    # Refuses, in the index' words, what it could not answer in the graph.
    index.query(index.vectors[:1], top_m)
    return write_saved_model(
        Path(folder) / (MATCHER_SCANN if index.method == "scann" else MATCHER),
        {
            SERVING_DEFAULT: Signature(
                function=_build_function(encoder, index, sources, source_item_ids, top_m, norm),
                inputs=_INPUTS,
                about=f"The {top_m} source items whose titles are most like each title, and the ID "
                "embedding that is blended from theirs.",
                row={"titles": ["Acoustic guitar strings"]},
                is_warmed_in_full=True,
            )
        },
        about=_ABOUT,
        notes={
            "num_source_items": len(sources),
            "top_m": top_m,
            "norm": norm,
            "retrieval": index.method,
            "source_item_ids_sha256": texts_digest(source_item_ids),
        },
    )


def _build_function(
    encoder: TextEncoder,
    index: Index,
    sources: npt.NDArray[np.float32],
    source_item_ids: Sequence[str],
    top_m: int,
    norm: Norm,
) -> Callable[..., dict[str, tf.Tensor]]:
    table = tf.Variable(sources, trainable=False, name="source_embeddings")
    fallback = fallback_embedding(sources, norm)
    to_vectors = encoder.title_layer()
    find = match_ranker(index)

    def match(titles: tf.Tensor) -> dict[str, tf.Tensor]:
        # A wrong width would reach ScaNN as an internal error.
        vectors = tf.ensure_shape(to_vectors(titles), (None, index.width))
        scores, rows = find(vectors, top_m)
        blend = blend_matches(
            scores, rows, untitled_strings(titles), table, tf.constant(fallback), norm
        )
        # NO_MATCH is -1: row 0 of the names stands for "no item".
        names = tf.gather(tf.constant(["", *source_item_ids]), blend.rows + 1)
        return {
            "embedding": blend.embeddings,
            "source_item_ids": names,
            "scores": blend.scores,
            "weights": blend.weights,
        }

    return match
