"""Python batches as a ``tf.data`` stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


def stream_batches(
    batches: Callable[[], Iterator[Any]], signature: dict[str, tf.TensorSpec], ahead: int
) -> tf.data.Dataset:
    """A stream for ``fit`` that ends when it is dropped.

    There is nothing to tune here, and tf.data's tuning thread sleeps ever longer, from 10 ms
    to 60 s: whoever drops a tuned stream waits for the end of such a sleep.

    Args:
        batches: Makes the batches, dictionaries of arrays.
        signature: What each array of a batch is.
        ahead: Batches that are made before they are asked for.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    stream = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return stream.prefetch(ahead).with_options(options)
