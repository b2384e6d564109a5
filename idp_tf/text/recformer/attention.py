"""A BERT's layers with Longformer's attention: a sliding window, and ``[CLS]`` over all.

A position attends to those at most half a window away and to ``[CLS]``, each once;
``[CLS]`` attends to all. Long sentences are taken in blocks of half a window, each block
against itself and its two neighbours, so that cost and memory are linear in the length. Up
to some windows it costs less to compare all positions and leave out those that are far.

Longformer has projections of their own for the global position, which start as copies
of the local ones; here they are the same weights, as a BERT has no others.

Reference: Beltagy et al. 2020, "Longformer", https://arxiv.org/abs/2004.05150.
"""

from __future__ import annotations

from typing import Any

from keras import ops

_EXCLUDED = -1e9


def windowed_layer(
    layer: Any,
    states: Any,
    padding_mask: Any,
    half_window: int,
    training: bool = False,
    first_only: bool = False,
    in_blocks: bool = True,
) -> Any:
    """A transformer layer of a KerasHub BERT with windowed in place of full attention.

    Where the window covers everything the result is the layer's own, but for rounding.

    Args:
        layer: A ``keras_hub.layers.TransformerEncoder`` that normalises after each part.
        states: Shape (batch, length, width); position 0 is ``[CLS]``.
        padding_mask: 1 for word pieces and 0 for padding, shape (batch, length).
        half_window: How far a position sees to either side.
        training: Whether dropout is on.
        first_only: Whether ``[CLS]`` alone is asked for, as in the last layer of a model
            of which nothing else is read.
        in_blocks: Whether no more than blocks of positions are compared; all are if not.

    Returns:
        Shape (batch, length, width), or (batch, 1, width) for ``first_only``.
    """
    attention = layer._self_attention_layer
    mask = ops.cast(padding_mask, "bool")
    keys, values = attention._key_dense(states), attention._value_dense(states)
    asked = states[:, :1] if first_only else states
    queries = attention._query_dense(asked) * attention._inverse_sqrt_key_dim
    if first_only:
        mixed = _attend_to_all(attention, queries, keys, values, mask, training)
    elif in_blocks:
        first = _attend_to_all(attention, queries[:, :1], keys, values, mask, training)
        local = _attend_to_window(attention, queries, keys, values, mask, half_window, training)
        mixed = ops.concatenate([first, local[:, 1:]], axis=1)
    else:
        mixed = _attend_to_band(attention, queries, keys, values, mask, half_window, training)
    mixed = layer._self_attention_dropout(attention._output_dense(mixed), training=training)
    asked = layer._self_attention_layer_norm(asked + mixed)
    inner = layer._feedforward_intermediate_dense(asked)
    inner = layer._feedforward_dropout(layer._feedforward_output_dense(inner), training=training)
    return layer._feedforward_layer_norm(asked + inner)


def _attend_to_all(
    attention: Any, queries: Any, keys: Any, values: Any, mask: Any, training: bool
) -> Any:
    """Full attention of a few queries; (batch, queries, heads, width)."""
    return _attend(attention, queries, keys, values, mask[:, None, None, :], training)


def _attend_to_band(
    attention: Any, queries: Any, keys: Any, values: Any, mask: Any, half: int, training: bool
) -> Any:
    """What all blocks and ``[CLS]`` find, by full attention; (batch, length, heads, width)."""
    places = ops.arange(ops.shape(queries)[1])
    near = ops.abs(places[:, None] - places) <= half
    near |= (places[:, None] == 0) | (places == 0)
    return _attend(attention, queries, keys, values, near & mask[:, None, None, :], training)


def _attend(
    attention: Any, queries: Any, keys: Any, values: Any, allowed: Any, training: bool
) -> Any:
    scores = ops.einsum("bqhd,bkhd->bhqk", queries, keys)
    scores = ops.where(allowed, scores, _EXCLUDED)
    shares = attention._dropout_layer(ops.softmax(scores), training=training)
    return ops.einsum("bhqk,bkhd->bqhd", shares, values)


def _attend_to_window(
    attention: Any, queries: Any, keys: Any, values: Any, mask: Any, half: int, training: bool
) -> Any:
    """Attention to the window and to position 0; (batch, length, heads, width)."""
    length = ops.shape(queries)[1]
    block = ops.minimum(half, length)
    first_key, first_value = keys[:, 0], values[:, 0]
    queries, keys, values, mask = (_blocks(x, block) for x in (queries, keys, values, mask))
    keys, values = _with_neighbours(keys), _with_neighbours(values)
    near = ops.einsum("bcqhd,bckhd->bchqk", queries, keys)
    allowed = _within(block, half) & _not_first(_with_neighbours(mask), block)[:, :, None, None]
    near = ops.where(allowed, near, _EXCLUDED)
    first = ops.einsum("bcqhd,bhd->bchq", queries, first_key)[..., None]
    shares = ops.softmax(ops.concatenate([first, near], axis=-1))
    shares = attention._dropout_layer(shares, training=training)
    mixed = ops.einsum("bchqk,bckhd->bcqhd", shares[..., 1:], values)
    mixed += ops.einsum("bchq,bhd->bcqhd", shares[..., 0], first_value)
    shape = ops.shape(mixed)
    return ops.reshape(mixed, (shape[0], -1, shape[3], shape[4]))[:, :length]


def _blocks(x: Any, block: Any) -> Any:
    """(batch, length, …) to (batch, blocks, block, …), zeros where length ends early."""
    shape = ops.shape(x)
    missing = -shape[1] % block
    x = ops.pad(x, [(0, 0), (0, missing)] + [(0, 0)] * (len(shape) - 2))
    return ops.reshape(x, (shape[0], -1, block, *shape[2:]))


def _with_neighbours(blocks: Any) -> Any:
    """Each block between the one before and the one after: (batch, blocks, 3 block, …)."""
    shape = ops.shape(blocks)
    # Of three axes: gradients of slices of five take half of the attention's time.
    flat = ops.reshape(blocks, (shape[0], shape[1], -1))
    width = ops.shape(flat)[2]
    others = (shape[0], shape[1] - 1, width)
    none = ops.zeros((shape[0], 1, width), flat.dtype)
    before = ops.concatenate([none, ops.slice(flat, (0, 0, 0), others)], axis=1)
    after = ops.concatenate([ops.slice(flat, (0, 1, 0), others), none], axis=1)
    joined = ops.concatenate([before, flat, after], axis=2)
    return ops.reshape(joined, (*shape[:2], 3 * shape[2], *shape[3:]))


def _within(block: Any, half: int) -> Any:
    """Which keys of three blocks are near which queries of the middle one: (block, 3 block)."""
    query = ops.arange(block)[:, None] + block
    return ops.abs(query - ops.arange(3 * block)) <= half


def _not_first(mask: Any, block: Any) -> Any:
    """The mask (batch, blocks, 3 block) without position 0, which all attend to apart."""
    blocks = ops.arange(ops.shape(mask)[1])[:, None]
    return mask & (blocks * block + ops.arange(3 * block) != block)
