"""Many titles through an encoder: batched by length, in parts that survive a kill.

Titles of one length make a batch, so nothing is padded and no mask is needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from idp_tf.errors import WorkdirError
from idp_tf.text.progress import progress_bar
from idp_tf.text.tokens import TitleTokens

_LOG = logging.getLogger(__name__)

BATCH_TOKENS: Final = 4_096
"""Most word pieces in a batch."""

PART_BATCHES: Final = 32
"""Batches in a part, which is what a killed run loses at most."""

_BATCHES_AT_ONCE: Final = 2

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]


def plan_batches(lengths: npt.ArrayLike, batch_tokens: int = BATCH_TOKENS) -> list[Int64Array]:
    """Rows of titles of one length each, at most ``batch_tokens`` word pieces together.

    Args:
        lengths: Word pieces of each title, shape (titles,).
        batch_tokens: Most word pieces in a batch; a longer title is a batch of its own.

    Returns:
        Row numbers, each in exactly one batch, short titles first.

    Example:
        >>> [rows.tolist() for rows in plan_batches([3, 5, 3, 3], batch_tokens=6)]
        [[0, 2], [3], [1]]
    """
    lengths = np.asarray(lengths, np.int64)
    order = np.argsort(lengths, kind="stable")
    batches = []
    for group in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        if len(group):
            size = max(1, batch_tokens // int(lengths[group[0]]))
            batches += [group[start : start + size] for start in range(0, len(group), size)]
    return batches


def encode_in_batches(
    tokens: TitleTokens,
    encode: Callable[[Any], Any],
    width: int,
    *,
    parts_dir: Path | None,
    description: str,
) -> Float32Array:
    """Encodes all titles, reusing the parts that an earlier call left in ``parts_dir``.

    Args:
        tokens: The tokenised titles.
        encode: Token ids (batch, length), none of them padding, to vectors (batch, width).
        width: The length of a vector.
        parts_dir: Where finished parts are kept; ``None`` keeps none. The name must
            stand for the titles and the encoder: parts are trusted by it.
        description: What the progress bar says.

    Returns:
        Shape (titles, width), float32.
    """
    vectors = np.zeros((len(tokens.lengths), width), np.float32)
    batches = plan_batches(tokens.lengths)
    with progress_bar(description, len(vectors), _LOG) as advance:
        for part, first in enumerate(range(0, len(batches), PART_BATCHES)):
            group = batches[first : first + PART_BATCHES]
            rows = np.concatenate(group)
            file = None if parts_dir is None else parts_dir / f"part-{part:05d}.npy"
            if file is not None and file.exists():
                vectors[rows] = _read_part(file, (len(rows), width))
            else:
                vectors[rows] = _encode_part(tokens, encode, group, file)
            advance(len(rows))
    return vectors


def _encode_part(
    tokens: TitleTokens,
    encode: Callable[[Any], Any],
    batches: list[Int64Array],
    file: Path | None,
) -> Float32Array:
    def encode_batch(rows: Int64Array) -> npt.NDArray[Any]:
        return np.asarray(encode(tf.constant(tokens.padded(rows))))

    # Two batches that share the cores take less than one after the other on all of them.
    with ThreadPoolExecutor(_BATCHES_AT_ONCE) as pool:
        vectors = np.concatenate(list(pool.map(encode_batch, batches))).astype(np.float32)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(file.name + ".tmp")
        with fresh.open("wb") as stream:
            np.save(stream, vectors)
        os.replace(fresh, file)
    return vectors


def _read_part(file: Path, shape: tuple[int, int]) -> Float32Array:
    try:
        part = np.asarray(np.load(file), np.float32)
        problem = "" if part.shape == shape else f"holds the shape {part.shape}, expected {shape}"
    except (OSError, ValueError, EOFError) as error:
        problem = f"cannot be read: {error}"
    if problem:
        raise WorkdirError(
            f"this part of the encoded titles {problem}", where=file, remedy="delete the file"
        )
    return part
