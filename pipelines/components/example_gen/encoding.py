"""Users as serialized ``tf.train.SequenceExample``s, a whole column at once.

A serialized message is made of its parts' bytes one after another, each behind its length. The
steps of many users are one Arrow column of bytes, so that a user's sequence is a slice of it, and
nothing is made for each interaction but its bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from idp_tf.data.examples import ITEM_IDS, USER_ID

_LENGTH_DELIMITED = 2
_MAP_KEY, _MAP_VALUE, _FEATURE_LIST, _FEATURE_LISTS = 1, 2, 1, 2


def encoded_steps(item_ids: pa.Array) -> pa.Array:
    """Each item id as one step of a ``FeatureList``, (num_items,), large_binary."""
    return _behind(_step_prefix, item_ids.cast(pa.large_binary()))


def encoded_users(user_ids: pa.Array, steps: pa.Array, offsets: npt.NDArray[np.int64]) -> pa.Array:
    """Users as serialized SequenceExamples.

    Args:
        user_ids: Their ids, (num_users,).
        steps: ``encoded_steps`` of all their items, one user after another, (num_steps,).
        offsets: Where each user's steps begin, (num_users + 1,).

    Returns:
        (num_users,), large_binary.
    """
    steps = pa.concat_arrays([steps])  # an array of its own, whose buffer begins with it
    _, ends, data = steps.buffers()
    ends = np.frombuffer(ends, np.int64, len(steps) + 1, offset=8 * steps.offset)
    borders = pa.py_buffer(np.ascontiguousarray(ends[offsets]))
    sequences = pa.Array.from_buffers(pa.large_binary(), len(user_ids), [None, borders, data])
    contexts = _behind(_context_prefix, user_ids.cast(pa.large_binary()))
    return _joined(contexts, _behind(_sequence_prefix, sequences))


def _behind(prefix: Callable[[int], bytes], values: pa.Array) -> pa.Array:
    """Values, each behind a prefix that depends on its length alone."""
    lengths, places = np.unique(
        pc.binary_length(values).to_numpy(zero_copy_only=False), return_inverse=True
    )
    prefixes = pa.array([prefix(int(length)) for length in lengths], pa.large_binary())
    return _joined(prefixes.take(pa.array(places)), values)


def _joined(first: pa.Array, second: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(first, second, pa.scalar(b"", pa.large_binary()))


def _step_prefix(length: int) -> bytes:
    """What stands before the bytes of one step's only value."""
    import tensorflow as tf

    value = tf.train.BytesList(value=[b"-" * length])
    step = tf.train.FeatureList(feature=[tf.train.Feature(bytes_list=value)])
    return _without_end(step, length)


def _context_prefix(length: int) -> bytes:
    """What stands before a user's id."""
    import tensorflow as tf

    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"-" * length]))
    record = tf.train.SequenceExample(context=tf.train.Features(feature={USER_ID: value}))
    return _without_end(record, length)


def _sequence_prefix(length: int) -> bytes:
    """What stands before the bytes of the only ``FeatureList``, by its length."""
    key = ITEM_IDS.encode()
    entry = _header(_MAP_KEY, len(key)) + key + _header(_MAP_VALUE, length)
    lists = _header(_FEATURE_LIST, len(entry) + length) + entry
    return _header(_FEATURE_LISTS, len(lists) + length) + lists


def _without_end(message: Any, length: int) -> bytes:
    data: bytes = message.SerializeToString()
    return data[: len(data) - length]


def _header(field: int, length: int) -> bytes:
    """A field's number, and the length of what follows, as protobuf writes them."""
    head = bytearray([field << 3 | _LENGTH_DELIMITED])
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head)
