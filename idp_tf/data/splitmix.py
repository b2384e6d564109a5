"""SplitMix64 (Steele, Lea and Flood 2014): numbers that hang on their key alone."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

GAMMA: Final = 0x9E3779B97F4A7C15
"""A step of the generator, the golden ratio's fraction of 2**64."""


def mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The output function, of states of any shape, in arithmetic modulo 2**64.

    Example:
        >>> hex(mixed(np.array([GAMMA], np.uint64))[0])
        '0xe220a8397b1dcdaf'
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
