"""Seeds of a model's parts, made from the model's own."""

from __future__ import annotations

import numpy as np


def derive_seed(seed: int, *path: int) -> int:
    """A seed for one part of what ``seed`` seeds.

    Added constants would give the part i of seed s what the part i - 1 of seed s + 1 gets,
    and runs with neighbouring seeds would share random numbers.

    Args:
        seed: At least 0.
        *path: Which part, from the outermost inwards; each at least 0.

    Returns:
        In 0 … 2^31 - 1, the same every time.

    Example:
        >>> derive_seed(0, 1) == derive_seed(0, 1), derive_seed(0, 1) == derive_seed(1, 0)
        (True, False)
    """
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0] >> 1)
