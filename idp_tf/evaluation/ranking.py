"""Where a user's target stands among the candidates, block by block.

A scorer is a dot product of a user vector and item vectors, so that one matrix
product ranks a block of users against a whole catalogue. A target's rank is
``1 + the number of other candidates whose score is >= the target's``: ties count
against the model, which so cannot gain by giving every item one score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from idp_tf.errors import DataError

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scorer:
    """A system that can be evaluated: score = user vector · item vector.

    Args:
        name: The system's slug, such as ``sasrec``.
        encode_users: From item ids (batch, length) int32, left-padded with 0, ``length`` at
            most ``max_length``, to user vectors (batch, dim). Padding must change nothing.
        item_vectors: Shape (num_items + 1, dim); row 0 is padding and never a candidate.
        max_length: How many of a user's last items ``encode_users`` is given.

    Example:
        >>> import numpy as np
        >>> flat = Scorer("flat", lambda ids: np.ones((len(ids), 1)), np.ones((4, 1)), 1)
        >>> flat.num_items
        3
    """

    name: str
    encode_users: Callable[[Int32Array], npt.NDArray[np.floating]]
    item_vectors: npt.NDArray[np.floating]
    max_length: int

    @property
    def num_items(self) -> int:
        """The number of items, padding not counted."""
        return len(self.item_vectors) - 1

    def user_vectors(self, item_ids: Int32Array) -> Float32Array:
        """Encodes histories and checks what comes back.

        Args:
            item_ids: Shape (batch, length), int32, left-padded with 0.

        Returns:
            Shape (batch, dim), float32.

        Raises:
            DataError: if the encoder gives another shape, or a value that is not finite.
        """
        vectors = np.asarray(self.encode_users(item_ids), dtype=np.float32)
        wanted = (len(item_ids), self.item_vectors.shape[1])
        if vectors.shape != wanted:
            raise DataError(
                f"user vectors have shape {vectors.shape}, not {wanted}", where=self.name
            )
        check_finite(vectors, "user vectors", self.name)
        return vectors


def check_finite(values: Float32Array, what: str, system: str) -> None:
    """Refuses NaN and infinite values, which have no place in a ranking.

    Args:
        values: Any shape.
        what: What the values are, for the message.
        system: The system they come from, for the message.

    Raises:
        DataError: if there is one.
    """
    if not np.isfinite(values).all():
        kind = "NaN" if np.isnan(values).any() else "infinite values"
        raise DataError(
            f"{kind} among the {what}, so that nothing can be ranked",
            where=system,
            remedy="training has probably diverged: lower its learning rate",
        )


@dataclass(frozen=True)
class Candidates:
    """A range of items to rank among, each distinct vector held once.

    A matrix product may round two columns differently, even where they are the
    same vector, and then a tie is no tie. So equal vectors share one column here.

    Args:
        vectors: The distinct vectors, shape (columns, dim).
        column: The column of each candidate, shape (candidates,).
        shared: The columns of more than one candidate, shape (shared,).
        copies: How many candidates a shared column has beyond the first, shape (shared,).
    """

    vectors: Float32Array
    column: Int64Array
    shared: Int64Array
    copies: Int64Array

    @classmethod
    def of(cls, item_vectors: Float32Array) -> Candidates:
        """Finds the equal vectors.

        Args:
            item_vectors: Shape (candidates, dim), finite.

        Example:
            >>> Candidates.of(np.array([[1.0], [2.0], [1.0]], np.float32)).column.tolist()
            [0, 1, 0]
        """
        # Adding 0 turns -0.0 into 0.0, so that rows are equal where their bytes are.
        rows = np.ascontiguousarray(item_vectors + np.float32(0))
        keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).reshape(-1)
        _, first, inverse, counts = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        # Columns in the order of their first item, so that results do not hang on byte order.
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        counts = counts[order]
        shared = np.flatnonzero(counts > 1)
        return cls(rows[first[order]], place[inverse.reshape(-1)], shared, counts[shared] - 1)


def full_ranks(
    user_vectors: Float32Array,
    candidates: Candidates,
    targets: Int64Array,
    seen_rows: Int64Array,
    seen_positions: Int64Array,
    *,
    system: str,
) -> Int32Array:
    """Ranks targets among all candidates but the seen ones, with one matrix product.

    The target is a candidate even where it is among the seen ones: a user who
    comes back to an item is a case to be ranked, not to be skipped.

    Args:
        user_vectors: Shape (batch, dim).
        candidates: The items to rank among.
        targets: The target's position among the candidates for each user, shape (batch,).
        seen_rows: The user of each seen item, shape (pairs,).
        seen_positions: The seen item's position among the candidates, shape (pairs,);
            a pair may stand there more than once.
        system: The system's name, for messages.

    Returns:
        1-based ranks, shape (batch,).

    Raises:
        DataError: if a score is NaN.
    """
    batch, count = len(user_vectors), len(candidates.column)
    scores = user_vectors @ candidates.vectors.T
    check_scores(scores, system)
    own = scores[np.arange(batch), candidates.column[targets]]
    # The target is >= itself, which is the 1 of the rank.
    ahead = np.count_nonzero(scores >= own[:, None], axis=1)
    ahead = ahead + (scores[:, candidates.shared] >= own[:, None]) @ candidates.copies
    rows, positions = np.divmod(np.unique(seen_rows * count + seen_positions), count)
    seen_ahead = scores[rows, candidates.column[positions]] >= own[rows]
    removed = rows[seen_ahead & (positions != targets[rows])]
    return np.asarray(ahead - np.bincount(removed, minlength=batch), np.int32)


def sampled_ranks(
    user_vectors: Float32Array,
    item_vectors: Float32Array,
    targets: Int32Array,
    negatives: Int32Array,
    *,
    system: str,
) -> Int32Array:
    """Ranks targets among themselves and each user's sampled negatives.

    Every score, the target's too, is summed by the same loop over the same
    order of dimensions, so that equal vectors tie exactly.

    Args:
        user_vectors: Shape (batch, dim).
        item_vectors: Shape (num_items + 1, dim).
        targets: Item ids, shape (batch,).
        negatives: Item ids, shape (batch, n).
        system: The system's name, for messages.

    Returns:
        1-based ranks in 1 … n + 1, shape (batch,).

    Raises:
        DataError: if a score is NaN.
    """
    candidates = item_vectors[np.column_stack([targets, negatives])]
    scores = np.einsum("bd,bcd->bc", user_vectors, candidates)
    check_scores(scores, system)
    return np.asarray(np.count_nonzero(scores >= scores[:, :1], axis=1), np.int32)


def check_scores(scores: Float32Array, system: str) -> None:
    """Refuses scores that are NaN; ``min`` passes a NaN on without a second array.

    Raises:
        DataError: if there is one.
    """
    if scores.size and np.isnan(scores.min()):
        check_finite(scores, "scores", system)
