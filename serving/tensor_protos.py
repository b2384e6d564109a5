"""Arrays to and from TensorFlow's own ``TensorProto``, in typed fields as TF-Serving answers.

``tf.make_tensor_proto`` packs numbers into ``tensor_content`` instead, which
clients that read ``float_val`` or ``int_val`` don't see.
"""

from __future__ import annotations

import numpy.typing as npt
from tensorflow.core.framework import tensor_pb2

from serving.tensors import MAX_ELEMENTS, array_of, fill_tensor

__all__ = ["MAX_ELEMENTS", "array_of", "typed_proto"]


def typed_proto(value: npt.ArrayLike) -> tensor_pb2.TensorProto:
    """An array, or nested lists of numbers, ``str`` or ``bytes``, as a ``TensorProto``.

    Raises:
        ValueError: for a dtype that has no typed field here, or rows of unequal length.

    Example:
        >>> typed_proto([1, 2]).int64_val
        [1, 2]
    """
    proto = tensor_pb2.TensorProto()
    fill_tensor(proto, value)
    return proto
