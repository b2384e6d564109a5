"""JSON objects to ``tf.Example``s; follows TF-Serving's ``util/json_tensor.cc``."""

from __future__ import annotations

from typing import Any, Final

from serving.server.json_tensors import decode_base64, is_base64, utf8
from serving.server.json_text import type_name
from serving.server.request_checks import RequestError, invalid_argument

_KINDS: Final = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}
_LEAST: Final = -(1 << 63)
_END: Final = 1 << 63


def fill_example(value: Any, example: Any) -> None:
    """Fills a ``tf.Example`` from an object of features, each a value or a list of such.

    Whole numbers and booleans become int64, other numbers float, strings and
    ``{"b64": "..."}`` bytes.

    Raises:
        RequestError: INVALID_ARGUMENT, as TF-Serving answers.
    """
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    for name, content in value.items():
        feature = example.features.feature[utf8(name).decode()]
        for element in content if isinstance(content, list) else [content]:
            _add(element, name, feature)


def _add(value: Any, name: str, feature: Any) -> None:
    kind, element = _feature_value(value, name)
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {_KINDS[present]}"
        )
    getattr(feature, kind).value.append(element)


def _feature_value(value: Any, name: str) -> tuple[str, Any]:
    if isinstance(value, str):
        return "bytes_list", utf8(value)
    if is_base64(value):
        return "bytes_list", decode_base64(value)
    if value is None or isinstance(value, list | dict):
        raise invalid_argument(
            f"Feature: {name} has element with unexpected JSON type: {type_name(value)}"
        )
    if isinstance(value, float):
        return "float_list", value
    if _LEAST <= value < _END:
        return "int64_list", int(value)
    if _END <= value < 2 * _END:
        raise _too_large(name)
    # Beyond 64 bits RapidJSON takes a number for a floating-point one.
    try:
        return "float_list", float(value)
    except OverflowError as error:
        raise _too_large(name) from error


def _too_large(name: str) -> RequestError:
    return invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
