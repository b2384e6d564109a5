"""The sampled negatives of the sampled protocol.

For each user n items that the user never touched at all, be it in training, in
validation or in the test, none of them twice, uniformly, and the same for every
system that is given them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from idp_tf.data.sequences import Sequences
from idp_tf.data.splitmix import GAMMA, mixed
from idp_tf.errors import DataError, SettingsError
from idp_tf.evaluation.ranking import Int32Array, Int64Array

Draw = Callable[[int, Int64Array], Int64Array]
"""The number of a draw, and how many each user chooses from -> a number below that for each."""


def sample_negatives(
    sequences: Sequences,
    num_items: int,
    n: int,
    seed: int,
    item_low: npt.ArrayLike = 1,
    item_high: npt.ArrayLike | None = None,
    *,
    users: npt.ArrayLike | None = None,
    keys: npt.ArrayLike | None = None,
) -> Int32Array:
    """Draws n items for each user that the user never touched.

    Every set of n untouched items is equally likely (Floyd's algorithm over a
    user's untouched items, for all users at once: no draw is ever rejected). The
    order within a row means nothing.

    Args:
        sequences: Whole sequences, the held-out items included.
        num_items: The number of items; ids are 1 … num_items.
        n: Negatives a user.
        seed: The same seed, sequences and users give the same negatives.
        item_low: The lowest id to draw, one for all or one for each of ``users``;
            for merged domains the first item of the user's own domain.
        item_high: The highest id to draw, in the same way; ``num_items`` by default.
        users: Rows of ``sequences``; all by default.
        keys: One unsigned 64-bit number for each of ``users``, such as a hash of the user's
            id. What a user is given then depends on the seed, the key and the user's items,
            and not on who else is drawn: workers that each see some users agree with one that
            sees all.

    Returns:
        Shape (users, n), int32, row ``i`` for ``users[i]``.

    Raises:
        SettingsError: if n or the range of ids is impossible.
        DataError: if a user has fewer than n untouched items.

    Example:
        >>> history = Sequences(np.array([1, 2, 3], np.int32), np.array([0, 3]))
        >>> sorted(sample_negatives(history, num_items=5, n=2, seed=0)[0].tolist())
        [4, 5]
    """
    if n < 1:
        raise SettingsError(f"{n} negatives, must be at least 1", where="evaluation.negatives")
    rows = user_rows(sequences, users)
    low, high = item_ranges(item_low, item_high, num_items, len(rows))
    owner, item = _touched(sequences, rows, low, high)
    untouched = high - low + 1 - np.bincount(owner, minlength=len(rows))
    check_enough_untouched(untouched, n, rows, domain="")
    draw = _common_draw(seed) if keys is None else _keyed_draw(keys, seed, len(rows))
    chosen = _distinct(untouched, n, draw)
    return _untouched_item(chosen, owner, item - low[owner], num_items, low)


def count_untouched(sequences: Sequences, num_items: int) -> Int64Array:
    """How many items each user never touched at all.

    Args:
        sequences: Whole sequences, the held-out items included.
        num_items: The number of items; ids are 1 … num_items.

    Returns:
        Shape (num_users,).

    Example:
        >>> history = Sequences(np.array([1, 2, 2], np.int32), np.array([0, 3]))
        >>> count_untouched(history, num_items=5).tolist()
        [3]
    """
    rows = user_rows(sequences, None)
    owner, _ = _touched(sequences, rows, *item_ranges(1, None, num_items, len(rows)))
    return num_items - np.bincount(owner, minlength=len(rows))


def check_enough_untouched(untouched: Int64Array, n: int, rows: Int64Array, domain: str) -> None:
    """Checks that n negatives can be drawn for every user.

    Args:
        untouched: How many items each user never touched.
        n: Negatives a user.
        rows: The users' rows, for the message.
        domain: The domain's name, for the message; may be empty.

    Raises:
        DataError: if a user has fewer than n untouched items.
    """
    short = np.flatnonzero(untouched < n)
    if short.size:
        most, place = untouched.min(), f" of {domain}" if domain else ""
        raise DataError(
            f"user {rows[short[0]]}{place} has {untouched[short[0]]} untouched items, fewer than "
            f"the {n} negatives to draw ({short.size} of {len(rows)} users have too few)",
            where="evaluation.negatives",
            remedy=(f"set evaluation.negatives to at most {most}, or " if most else "")
            + "bring a domain with more items",
        )


def user_rows(sequences: Sequences, users: npt.ArrayLike | None) -> Int64Array:
    """The rows to evaluate: those given, checked, or all.

    Raises:
        DataError: if a row is not there.
    """
    if users is None:
        return np.arange(sequences.num_users, dtype=np.int64)
    rows = np.asarray(users, dtype=np.int64)
    wrong = rows[(rows < 0) | (rows >= sequences.num_users)]
    if wrong.size:
        raise DataError(f"user {wrong[0]} is not in 0 … {sequences.num_users - 1}", where="users")
    return rows


def item_ranges(
    item_low: npt.ArrayLike, item_high: npt.ArrayLike | None, num_items: int, num_users: int
) -> tuple[Int64Array, Int64Array]:
    """The lowest and the highest candidate of each user, shapes (num_users,).

    Raises:
        SettingsError: if a range is empty or leaves 1 … num_items.
    """
    highest = num_items if item_high is None else item_high
    low = np.broadcast_to(np.asarray(item_low, dtype=np.int64), (num_users,))
    high = np.broadcast_to(np.asarray(highest, dtype=np.int64), (num_users,))
    wrong = np.flatnonzero((low < 1) | (high > num_items) | (low > high))
    if wrong.size:
        raise SettingsError(
            f"item ids from {low[wrong[0]]} to {high[wrong[0]]} are no range within "
            f"1 … {num_items}",
            where="item_low, item_high",
        )
    return low, high


def flat_items(
    sequences: Sequences, rows: Int64Array, leave_out: int = 0
) -> tuple[Int64Array, Int64Array]:
    """Everything in some users' sequences, but for the last items.

    Args:
        sequences: The sequences.
        rows: The users.
        leave_out: How many of the last items are left out.

    Returns:
        The position in ``rows``, and the item id; shapes (items,).
    """
    begin = sequences.offsets[rows]
    lengths = np.maximum(sequences.offsets[rows + 1] - leave_out - begin, 0)
    owner = np.repeat(np.arange(len(rows), dtype=np.int64), lengths)
    first = np.cumsum(lengths) - lengths
    index = np.arange(len(owner)) - first[owner] + begin[owner]
    return owner, sequences.values[index].astype(np.int64)


def _touched(
    sequences: Sequences, rows: Int64Array, low: Int64Array, high: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Each user's distinct items within the user's range, sorted by user, then item."""
    owner, item = flat_items(sequences, rows)
    inside = (item >= low[owner]) & (item <= high[owner])
    stride = int(high.max(initial=0)) + 1
    owner, item = np.divmod(np.unique(owner[inside] * stride + item[inside]), stride)
    return owner, item


def _common_draw(seed: int) -> Draw:
    """All users' numbers from one stream."""
    random = np.random.default_rng(seed)
    return lambda _, sizes: random.integers(0, sizes)


def _keyed_draw(keys: npt.ArrayLike, seed: int, num_users: int) -> Draw:
    """Each user's numbers from the user's own stream of SplitMix64."""
    own = np.asarray(keys, np.uint64)
    if own.shape != (num_users,):
        raise DataError(f"keys of shape {own.shape} for {num_users} users", where="keys")
    start = mixed(own + mixed(np.array([seed], np.uint64)))

    def draw(number: int, sizes: Int64Array) -> Int64Array:
        bits = mixed(start + np.uint64((number + 1) * GAMMA % 2**64))
        # 53 bits fill a float64, and the product stays below the size.
        return np.floor((bits >> np.uint64(11)) * 2.0**-53 * sizes).astype(np.int64)

    return draw


def _distinct(sizes: Int64Array, n: int, draw: Draw) -> Int64Array:
    """Floyd's algorithm: n distinct numbers below each size, shape (n, users)."""
    chosen = np.empty((n, len(sizes)), np.int64)
    for i in range(n):
        last = sizes - n + i
        drawn = draw(i, last + 1)
        taken = (chosen[:i] == drawn).any(axis=0)
        chosen[i] = np.where(taken, last, drawn)
    return chosen


def _untouched_item(
    chosen: Int64Array, owner: Int64Array, touched: Int64Array, num_items: int, low: Int64Array
) -> Int32Array:
    """The chosen-th untouched item of each user, shape (users, n).

    The i-th touched position ``t`` of a user has ``t - i`` untouched ones before
    it; it lies before the chosen one where ``t - i <= chosen``.
    """
    first = np.searchsorted(owner, np.arange(len(low)))
    gap = touched - (np.arange(len(owner)) - first[owner])
    stride = num_items + 1
    users = np.arange(len(low))
    passed = np.searchsorted(owner * stride + gap, users * stride + chosen, side="right") - first
    return np.ascontiguousarray((low + chosen + passed).T.astype(np.int32))
