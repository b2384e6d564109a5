"""What signatures over ``tf.Example``s give, as TF-Serving's classifications and regressions.

Follows the post-processing in TF-Serving's ``servables/tensorflow/{classifier,regressor}.cc``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, regression_pb2

from serving.server.request_checks import invalid_argument

Arrays = Mapping[str, npt.NDArray[Any]]

CLASSES: Final = "classes"
SCORES: Final = "scores"
OUTPUTS: Final = "outputs"


def classification_result(outputs: Arrays, count: int) -> classification_pb2.ClassificationResult:
    """Labels, scores or both, each of shape (n, c), as a ``ClassificationResult``.

    Args:
        outputs: ``classes``, ``scores`` or both.
        count: How many examples there are, n.

    Raises:
        RequestError: INVALID_ARGUMENT, if an output has another shape or type, or a label is
            no UTF-8.
    """
    for name, dtype in ((CLASSES, "DT_STRING"), (SCORES, "DT_FLOAT")):
        if name in outputs:
            _check_matrix(name, dtype, outputs[name], count)
    if len({array.shape for array in outputs.values()}) > 1:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). Got "
            f"{outputs[CLASSES].shape[1]} vs. {outputs[SCORES].shape[1]}"
        )
    result = classification_pb2.ClassificationResult()
    fields = [("label", outputs.get(CLASSES)), ("score", outputs.get(SCORES))]
    given = {name: _values(array) for name, array in fields if array is not None}
    for rows in zip(*given.values(), strict=True):
        classes = result.classifications.add().classes
        for values in zip(*rows, strict=True):
            classes.add(**dict(zip(given, values, strict=True)))
    return result


def _values(array: npt.NDArray[Any]) -> list[list[Any]]:
    """Labels as ``str``: other bytes TF-Serving sends, but few clients could read them."""
    rows = array.tolist()
    if array.dtype != np.dtype(object):
        return rows
    try:
        return [[label.decode() for label in row] for row in rows]
    except UnicodeDecodeError as error:
        raise invalid_argument(
            f"Expected classes Tensor of UTF-8 texts. Got: {error.object!r}"
        ) from error


def _check_matrix(name: str, dtype: str, array: npt.NDArray[Any], count: int) -> None:
    if array.ndim != 2:
        raise invalid_argument(
            f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}"
        )
    if _dtype(array) != dtype:
        raise invalid_argument(f"Expected {name} Tensor of {dtype}. Got: {_dtype(array)}")
    if len(array) != count:
        raise invalid_argument(f"Expected {name} output batch size of {count}. Got: {len(array)}")


def regression_result(outputs: Arrays, count: int) -> regression_pb2.RegressionResult:
    """``outputs``, of shape (n,) or (n, 1), as a ``RegressionResult``.

    Args:
        outputs: ``outputs``, alone.
        count: How many examples there are, n.

    Raises:
        RequestError: INVALID_ARGUMENT, if it has another shape or type.
    """
    array = outputs[OUTPUTS]
    if array.ndim != 1 and (array.ndim, *array.shape[1:]) != (2, 1):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] "
            f"but got {_shape(array)}"
        )
    if len(array) != count:
        raise invalid_argument(
            f"Input batch size did not match output batch size: {count} vs. {len(array)}"
        )
    if _dtype(array) != "DT_FLOAT":
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {_dtype(array)}")
    result = regression_pb2.RegressionResult()
    for value in array.ravel().tolist():
        result.regressions.add(value=value)
    return result


def _shape(array: npt.NDArray[Any]) -> str:
    """A shape as C++ writes it."""
    return "[" + ",".join(map(str, array.shape)) + "]"


def _dtype(array: npt.NDArray[Any]) -> str:
    is_string = array.dtype == np.dtype(object)
    enum = tf.string if is_string else tf.as_dtype(array.dtype)
    return str(types_pb2.DataType.Name(enum.as_datatype_enum))
