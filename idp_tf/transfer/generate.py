"""ID embeddings of new items, blended from those of matched source items (eq. 8 and 9).

What eq. 9 leaves open, and what happens here:

- A similarity below 0 would weigh its match negatively, and could make the sum of
  similarities 0. It is taken for 0, so that such a match contributes nothing; if no
  match has a similarity above 0, all ``top_m`` weigh the same.
- A mean of many vectors is shorter than they are (by two thirds, on real domains).
  ``norm="matches"`` stretches each blend to the weighted mean length of its matches;
  ``norm="none"`` is eq. 9 as printed.
- An item without a title cannot be matched. It gets the mean of all source embeddings,
  with ``norm="matches"`` stretched to their mean length.

The arithmetic is in TensorFlow and shared with the exported matcher, so that served
and in-process embeddings agree.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
import tensorflow as tf

from idp_tf.errors import SettingsError

if TYPE_CHECKING:
    from idp_tf.data.domain import Domain, MergedDomains
    from idp_tf.retrieval import Index, Matches

_LOG = logging.getLogger(__name__)

Norm = Literal["none", "matches"]

NO_MATCH: Final = -1
"""The source row of an item that has no title."""

_BLOCK_ITEMS: Final = 4_096

# What Python's str.strip takes for white space, in RE2's words.
_WHITE_SPACE: Final = r"[\s\v\x1c-\x1f\x{85}\pZ]*"


@dataclass(frozen=True)
class GeneratedEmbeddings:
    """Embeddings of n target items, and what they were made of.

    Args:
        embeddings: Shape (n, d), float32; row ``i`` belongs to internal item id ``i + 1``.
        rows: Matched rows of the source embeddings (from 0), best first, shape (n, top_m),
            int32; -1 for an item without a title.
        scores: Cosine similarities (eq. 8), shape (n, top_m); 0 without a title.
        weights: What eq. 9 multiplies with, shape (n, top_m); 0 without a title.
        untitled: Which items have no title, shape (n,).
    """

    embeddings: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    untitled: npt.NDArray[np.bool_]

    @property
    def num_untitled(self) -> int:
        """How many items got the fallback."""
        return int(self.untitled.sum())


class Blend(NamedTuple):
    """What the graph makes of a batch: tensors of the shapes in ``GeneratedEmbeddings``."""

    embeddings: Any
    rows: Any
    scores: Any
    weights: Any


def match_weights(scores: Any) -> Any:
    """Eq. 9's scores: similarities, those below 0 taken for 0, divided by their sum.

    Args:
        scores: A tensor of shape (batch, top_m).

    Returns:
        Shape (batch, top_m), each row adding up to 1.

    Example:
        >>> match_weights(tf.constant([[0.75, 0.25, -0.5], [-0.1, -0.2, -0.2]])).numpy().round(2)
        array([[0.75, 0.25, 0.  ],
               [0.33, 0.33, 0.33]], dtype=float32)
    """
    positive = tf.nn.relu(scores)
    total = tf.reduce_sum(positive, axis=-1, keepdims=True)
    uniform = tf.ones_like(scores) / tf.cast(tf.shape(scores)[-1], scores.dtype)
    return tf.where(total > 0, tf.math.divide_no_nan(positive, total), uniform)


def blend_matches(
    scores: Any, rows: Any, untitled: Any, source_embeddings: Any, fallback: Any, norm: Norm
) -> Blend:
    """Eq. 9 on tensors, with the fallback for items without a title.

    Args:
        scores: Similarities, shape (batch, top_m).
        rows: Matched source rows, shape (batch, top_m).
        untitled: Which items have no title, shape (batch,), bool.
        source_embeddings: Shape (n_source, d).
        fallback: What an item without a title gets, shape (d,).
        norm: ``none`` or ``matches``.
    """
    weights = match_weights(scores)
    matched = tf.gather(source_embeddings, rows)
    blended = tf.einsum("bm,bmd->bd", weights, matched)
    if norm == "matches":
        wanted = tf.reduce_sum(weights * tf.norm(matched, axis=-1), axis=-1, keepdims=True)
        length = tf.norm(blended, axis=-1, keepdims=True)
        blended = tf.math.divide_no_nan(blended, length) * wanted
    without = untitled[:, tf.newaxis]
    return Blend(
        tf.where(without, fallback[tf.newaxis, :], blended),
        tf.where(without, tf.cast(NO_MATCH, rows.dtype), rows),
        tf.where(without, tf.zeros_like(scores), scores),
        tf.where(without, tf.zeros_like(weights), weights),
    )


def untitled_strings(titles: Any) -> Any:
    """Which strings of a tensor (batch,) are empty or white space, for the exported graph."""
    return tf.strings.regex_full_match(titles, _WHITE_SPACE)


def find_untitled(titles: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which titles are empty or white space.

    Example:
        >>> find_untitled(["tea", " ", ""]).tolist()
        [False, True, True]
    """
    return np.array([not title.strip() for title in titles], dtype=np.bool_)


def fallback_embedding(source_embeddings: npt.ArrayLike, norm: Norm) -> npt.NDArray[np.float32]:
    """What an item without a title gets: the mean source embedding.

    Args:
        source_embeddings: Shape (n_source, d).
        norm: With ``matches`` the mean is stretched to the mean length of the embeddings.

    Returns:
        Shape (d,), float32.
    """
    sources = np.asarray(source_embeddings, np.float64)
    mean = sources.mean(axis=0)
    length = np.linalg.norm(mean)
    if norm == "matches" and length > 0:
        mean *= np.linalg.norm(sources, axis=1).mean() / length
    return np.asarray(mean, np.float32)


def generate_embeddings(
    target_vectors: npt.ArrayLike,
    index: Index,
    source_embeddings: npt.ArrayLike,
    *,
    top_m: int,
    norm: Norm = "none",
    untitled: npt.ArrayLike,
) -> GeneratedEmbeddings:
    """Generates the ID embeddings of a target domain (eq. 8 and 9).

    Args:
        target_vectors: L2-normalised title vectors of the target items, shape (n, width).
        index: Retrieval over the title vectors of the source items, in the order of
            ``source_embeddings``.
        source_embeddings: Pre-trained ID embeddings, shape (n_source, d), without the
            padding row.
        top_m: How many source items make one target item.
        norm: ``none`` is eq. 9; ``matches`` stretches each blend to the weighted mean
            length of its matches.
        untitled: Which target items have no title, shape (n,).

    Raises:
        SettingsError: if ``top_m`` is above the number of source items, or shapes differ.

    Reference:
        Eq. 8 and 9 of "ID-centric Pre-training for Recommendation".
    """
    queries = np.asarray(target_vectors, np.float32)
    sources = np.asarray(source_embeddings, np.float32)
    if sources.ndim != 2 or len(sources) != index.num_vectors:
        raise SettingsError(
            f"source embeddings of the shape {sources.shape} for {index.num_vectors} indexed items",
            where="source_embeddings",
            remedy="leave out the padding row, and keep the order of the index",
        )
    _check_items(untitled, len(queries))
    return blend_all(index.query(queries, top_m), sources, norm=norm, untitled=untitled)


def blend_all(
    matches: Matches,
    source_embeddings: npt.ArrayLike,
    *,
    norm: Norm = "none",
    untitled: npt.ArrayLike,
) -> GeneratedEmbeddings:
    """Blends the embeddings of matches that were found already (eq. 9).

    Args:
        matches: The matched source items of each of n target items, and their similarities.
        source_embeddings: Pre-trained ID embeddings, shape (n_source, d), without the
            padding row.
        norm: See ``generate_embeddings``.
        untitled: Which target items have no title, shape (n,).

    Raises:
        SettingsError: for an unknown norm, or if shapes differ.

    Example:
        >>> from idp_tf.retrieval import Matches
        >>> found = Matches(np.array([[0.75, 0.25]], np.float32), np.array([[1, 0]], np.int32))
        >>> blend_all(found, [[0.0, 4.0], [4.0, 0.0]], untitled=[False]).embeddings.tolist()
        [[3.0, 1.0]]
    """
    sources = np.asarray(source_embeddings, np.float32)
    without = np.asarray(untitled, np.bool_)
    _check_items(without, len(matches.rows))
    if norm not in get_args(Norm):
        raise SettingsError(
            f"unknown norm {norm!r}", where="transfer.norm", remedy="set none or matches"
        )
    top_m = matches.rows.shape[1]
    table, fallback = tf.constant(sources), tf.constant(fallback_embedding(sources, norm))
    parts = []
    for start in range(0, len(matches.rows), _BLOCK_ITEMS):
        block = slice(start, start + _BLOCK_ITEMS)
        blend = blend_matches(
            tf.constant(matches.scores[block]),
            tf.constant(matches.rows[block]),
            tf.constant(without[block]),
            table,
            fallback,
            norm,
        )
        parts.append([part.numpy() for part in blend])
    if without.any():
        _LOG.warning(
            "%d of %d target items have no title; they get the mean source embedding",
            without.sum(),
            len(without),
        )
    return _joined(parts, without, sources.shape[1], top_m)


def _joined(
    parts: list[list[Any]], untitled: npt.NDArray[np.bool_], width: int, top_m: int
) -> GeneratedEmbeddings:
    empty = [
        np.zeros((0, width), np.float32),
        np.zeros((0, top_m), np.int32),
        np.zeros((0, top_m), np.float32),
        np.zeros((0, top_m), np.float32),
    ]
    embeddings, rows, scores, weights = (
        np.concatenate(columns) for columns in zip(empty, *parts, strict=True)
    )
    return GeneratedEmbeddings(embeddings, rows, scores, weights, untitled)


def _check_items(untitled: npt.ArrayLike, num_items: int) -> None:
    if np.shape(untitled) != (num_items,):
        raise SettingsError(
            f"the shape {np.shape(untitled)} for {num_items} target items",
            where="untitled",
            remedy="give one flag for each target item",
        )


def write_matches(
    path: Path, generated: GeneratedEmbeddings, target: Domain, sources: MergedDomains
) -> None:
    """Writes which source items made each target item, as Parquet, best match first.

    Columns: target_item, source_item, source_domain, target_title, source_title, score,
    weight. Items without a title have no rows.

    Args:
        path: The file; it appears whole or not at all.
        generated: What ``generate_embeddings`` returned for the target's items.
        target: The target domain.
        sources: The source domains, in the order of the index.
    """
    top_m = generated.rows.shape[1]
    titled = np.flatnonzero(~generated.untitled)
    rows = generated.rows[titled].ravel()
    targets = np.repeat(titled, top_m)
    domains = np.asarray(sources.names, dtype=object)[sources.domain_of(rows + 1)]
    source_items = [item for domain in sources.domains for item in domain.item_ids.external_ids]
    table = pl.DataFrame(
        {
            "target_item": _pick(target.item_ids.external_ids, targets),
            "source_item": _pick(source_items, rows),
            "source_domain": pl.Series(domains.tolist(), dtype=pl.String),
            "target_title": _pick(target.titles, targets),
            "source_title": _pick(sources.titles, rows),
            "score": generated.scores[titled].ravel(),
            "weight": generated.weights[titled].ravel(),
        }
    )
    fresh = path.with_name(path.name + ".tmp")
    table.write_parquet(fresh)
    fresh.replace(path)


def _pick(values: Sequence[str], positions: npt.NDArray[np.integer[Any]]) -> pl.Series:
    return pl.Series(values, dtype=pl.String).gather(positions)
