"""BERT's layers in NumPy, for one sequence (length, dim) without padding and dropout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]


def norm(values: Floats, layer: Any) -> Floats:
    """Layer normalization with a layer's scale and shift."""
    gamma, beta = (weight.numpy() for weight in layer.weights)
    centred = values - values.mean(-1, keepdims=True)
    result: Floats = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * gamma + beta
    return result


def dense(values: Floats, layer: Any) -> Floats:
    """A fully connected layer without its activation."""
    kernel, bias = (weight.numpy() for weight in layer.weights)
    result: Floats = values @ kernel + bias
    return result


def gelu(values: Floats) -> Floats:
    """By the error function."""
    result: Floats = values * 0.5 * (1 + np.vectorize(math.erf)(values / np.sqrt(2)))
    return result


def attended(values: Floats, layer: Any, num_heads: int, causal: bool = False) -> Floats:
    """Self-attention, each head by itself."""
    heads = []
    for query, key, value in zip(
        *(np.split(part, num_heads, -1) for part in np.split(dense(values, layer.qkv), 3, -1)),
        strict=True,
    ):
        weights = np.exp(query @ key.T / np.sqrt(query.shape[-1]))
        weights = np.tril(weights) if causal else weights
        heads.append(weights / weights.sum(-1, keepdims=True) @ value)
    return dense(np.concatenate(heads, -1), layer.output_projection)


def block_outputs(values: Floats, block: Any, num_heads: int, causal: bool = False) -> Floats:
    """One layer: attention and network, each added and then normalised."""
    hidden = values + attended(values, block.attention, num_heads, causal)
    hidden = norm(hidden, block.attention_norm)
    outer = dense(gelu(dense(hidden, block.inner)), block.outer)
    return norm(hidden + outer, block.network_norm)
