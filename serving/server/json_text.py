"""JSON as TF-Serving's REST API reads and writes it, which is as RapidJSON does.

Follows the parsing and the writing of single values in TF-Serving's ``util/json_tensor.cc``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from serving.server.request_checks import RequestError, invalid_argument

INDENT: Final = "    "

_MAX_SHOWN: Final = 256
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_TO_ESCAPE: Final = re.compile(r'[\x00-\x1f"\\]')
_ESCAPES: Final = {
    **{chr(code): f"\\u{code:04X}" for code in range(0x20)},
    **{"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"},
}
_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_TOO_BIG: Final = "Number too big to be stored in double."

# What Python's parser says -> what RapidJSON says of the same.
_ERRORS: Final = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting ',' delimiter": "Missing a comma, } or ] after a value.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request; what follows it is not looked at.

    Raises:
        RequestError: INVALID_ARGUMENT, if there is no object.
        RecursionError: if values are nested more deeply than Python calls functions.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _parse_error("Invalid encoding in string.", error.start) from error
    start = _SPACE.match(text).end()  # type: ignore[union-attr]  # It matches nothing, too.
    if start == len(text):
        raise _parse_error("The document is empty.", len(body))
    try:
        value, _ = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        words = _ERRORS.get(error.msg.removesuffix(": "), error.msg)
        raise _parse_error(words, len(text[: error.pos].encode(errors="replace"))) from error
    except ValueError as error:
        raise invalid_argument(f"JSON Parse error: {_TOO_BIG}") from error
    if not isinstance(value, dict):
        raise value_error(value, "Is not object")
    return value


def value_error(value: Any, message: str) -> RequestError:
    """An error that shows the JSON value that it is about."""
    return invalid_argument(f"JSON Value: {shown(value)} {message}")


def shown(value: Any) -> str:
    """A JSON value as error messages show it: cut after some 256 bytes."""
    text, length = "", 0
    for token in _tokens(value, "", 0):
        if length >= _MAX_SHOWN:
            break
        text += token
        length += len(token.encode(errors="replace"))
    return text


def type_name(value: Any) -> str:
    """RapidJSON's name of a value's type."""
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    for kind, name in ((str, "String"), (list, "Array"), (dict, "Object")):
        if isinstance(value, kind):
            return name
    return "Number"


def quoted(text: str | bytes) -> str:
    """A JSON string; bytes that are no UTF-8 stay as they are (see ``as_bytes``)."""
    if isinstance(text, bytes):
        text = text.decode(errors="surrogateescape")
    return f'"{_TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], text)}"'


def as_bytes(text: str) -> bytes:
    """A body of what this module has written."""
    return text.encode(errors="surrogateescape")


def decimals(values: Sequence[float], dtype: npt.DTypeLike) -> list[str]:
    """Floating-point numbers: six digits where these are enough, all that it takes elsewhere.

    Args:
        values: Numbers of that dtype.
        dtype: float32 or float64.

    Example:
        >>> decimals([0.2, 3, 1e-7, float("inf")], np.float64)
        ['0.2', '3.0', '1e-07', 'Infinity']
    """
    digits = 9 if dtype == np.float32 else 17
    short = [f"{value:g}" for value in values]
    with np.errstate(over="ignore"):
        enough = np.array([float(text) for text in short]).astype(dtype) == np.array(values, dtype)
    return [
        _with_point(text if same else f"{value:.{digits}g}")
        for text, same, value in zip(short, enough.tolist(), values, strict=True)
    ]


def _with_point(text: str) -> str:
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    # Else a list of whole numbers among others would be of two types.
    return text if "." in text or "e" in text else f"{text}.0"


def _tokens(value: Any, prefix: str, level: int) -> Iterator[str]:
    """The value, cut where RapidJSON's writer looks whether there is room."""
    if isinstance(value, dict):
        yield prefix + "{"
        for position, (name, inner) in enumerate(value.items()):
            yield f"{',' * bool(position)}\n{INDENT * (level + 1)}{quoted(name)}"
            yield from _tokens(inner, ": ", level + 1)
        yield f"\n{INDENT * level}}}" if value else "}"
    elif isinstance(value, list):
        yield prefix + "["
        for position, inner in enumerate(value):
            yield from _tokens(inner, ", " * bool(position), level + 1)
        yield "]"
    else:
        yield prefix + (quoted(value) if isinstance(value, str) else json.dumps(value))


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(text)
    return value


def _parse_error(words: str, offset: int) -> RequestError:
    return invalid_argument(f"JSON Parse error: {words} at offset: {offset}")


_DECODER: Final = json.JSONDecoder(parse_float=_float)
