r"""TF-Serving's messages without TF-Serving's wheel, which drags all of TensorFlow in.

Each message, and each enum outside of a message, is an attribute of this module, by its
name: ``wire.PredictRequest``, ``wire.DataType``. The bytes are those of the public protos;
fields that are not declared here are kept as protobuf keeps unknown fields. The descriptors
are built at import, in a pool of their own, so that they meet neither TensorFlow's nor
TF-Serving's in a process that has imported those, too. A message of the one kind is not
one of the other: hand over bytes.

Needs protobuf alone.

Example:
    >>> from serving import wire
    >>> request = wire.PredictRequest()
    >>> request.model_spec.name = "recommender"
    >>> request.SerializeToString()
    b'\n\r\n\x0brecommender'
"""

from __future__ import annotations

import typing

from serving.wire.schema import build_classes
from serving.wire.serving_messages import HEALTH, SERVING
from serving.wire.tensorflow_messages import ERRORS, PROTOBUF, TENSORFLOW

FILES: typing.Final = (PROTOBUF, ERRORS, TENSORFLOW, SERVING, HEALTH)
"""The declarations, a file for each package."""

_CLASSES: typing.Final = build_classes(FILES)


# Not imported by its name: `wire.Any` is a message.
def __getattr__(name: str) -> typing.Any:
    try:
        return _CLASSES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no message {name!r}") from None


def __dir__() -> list[str]:
    return sorted([*globals(), *_CLASSES])
