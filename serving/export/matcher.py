"""The matcher as a SavedModel: titles in, generated ID embeddings and their matches out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy.typing as npt
import tensorflow as tf

from idp_tf.transfer.generate import Norm
from serving.export.matching import TitleMatcher, check_sources
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


@dataclass(frozen=True)
class SourceItems:
    """What answers call the source items, in the order of the index.

    Args:
        ids: Unique across domains (``MergedDomains.external_ids``).
        titles: Their titles.
        domains: The domain of each.
    """

    ids: Sequence[str]
    titles: Sequence[str]
    domains: Sequence[str]


def export_matcher(
    encoder: TextEncoder,
    index: Index,
    source_embeddings: npt.ArrayLike,
    source_items: SourceItems,
    folder: str | Path,
    *,
    top_m: int,
    norm: Norm,
) -> Path:
    """Writes the next version of ``matcher``, or of ``matcher_scann``, under ``folder``.

    The signature ``serving_default`` takes ``titles`` (batch,) string and gives
    ``embedding`` (batch, d), and of the matched items ``source_item_ids``, ``source_titles``
    and ``source_domains`` (batch, top_m) string, their ``scores`` (eq. 8) and ``weights``
    (eq. 9), best first. A blank title gets the mean source embedding, with ids, titles and
    domains "" and scores and weights 0. Where ScaNN finds fewer than ``top_m`` items, the
    title is answered exactly, as in process.

    Args:
        encoder: The matcher's text encoder.
        index: Retrieval over the source items' title vectors; its method is the form.
        source_embeddings: Pre-trained ID embeddings in the order of the index, (n_source, d).
        source_items: What they are called.
        folder: The export folder, ``<folder>/<name>/<version>/`` is made.
        top_m: How many source items make one embedding.
        norm: As in ``generate_embeddings``.

    Returns:
        The version's folder.

    Raises:
        ServingError: if items, embeddings and index do not fit.
        SettingsError: if the index cannot give ``top_m`` matches.
    """
    for name in ("ids", "titles", "domains"):
        check_sources(f"source_items.{name}", getattr(source_items, name), index.num_vectors)
    matcher = TitleMatcher(encoder, index, source_embeddings, top_m, norm)
    return write_saved_model(
        Path(folder) / (MATCHER_SCANN if index.method == "scann" else MATCHER),
        {
            SERVING_DEFAULT: Signature(
                function=_match(matcher, source_items),
                inputs=_INPUTS,
                about=f"The {top_m} source items whose titles are most like each title, and the ID "
                "embedding that is blended from theirs.",
                row={"titles": ["Acoustic guitar strings"]},
                is_warmed_in_full=True,
            )
        },
        about=_ABOUT,
        notes={
            "num_source_items": matcher.num_sources,
            "top_m": top_m,
            "norm": norm,
            "retrieval": index.method,
            "source_items_sha256": texts_digest(
                [*source_items.ids, *source_items.titles, *source_items.domains]
            ),
        },
    )


def _match(matcher: TitleMatcher, source_items: SourceItems) -> Callable[..., dict[str, tf.Tensor]]:
    # NO_MATCH is -1: row 0 stands for "no item".
    ids = tf.constant(["", *source_items.ids])
    source_titles = tf.constant(["", *source_items.titles])
    # A domain's name is held once, not for each of its items.
    names = sorted(set(source_items.domains))
    number = {name: row + 1 for row, name in enumerate(names)}
    domains = tf.constant([0, *(number[name] for name in source_items.domains)])

    def match(titles: tf.Tensor) -> dict[str, tf.Tensor]:
        blend = matcher(titles)
        rows = blend.rows + 1
        return {
            "embedding": blend.embeddings,
            "source_item_ids": tf.gather(ids, rows),
            "source_titles": tf.gather(source_titles, rows),
            "source_domains": tf.gather(tf.constant(["", *names]), tf.gather(domains, rows)),
            "scores": blend.scores,
            "weights": blend.weights,
        }

    return match
