"""What is wrong with a setting, in words: key, value, rule, and the nearest known key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from idp_tf.errors import SettingsError

_LISTS: Final = ("tuple_type", "list_type")
_SHOWN: Final = 200


def unknown_setting(prefix: str, key: str, known: Iterable[str]) -> SettingsError:
    """The refusal of a key, with the nearest known one.

    Args:
        prefix: What stands before the key, such as ``model.``.
        key: The key.
        known: The keys that there are.
    """
    names = list(known)
    near = difflib.get_close_matches(key, names, n=1)
    return SettingsError(
        f"unknown setting '{prefix}{key}'",
        remedy=f"did you mean '{prefix}{near[0]}'?" if near else f"known here: {', '.join(names)}",
    )


def refused(error: ValidationError, model: type[BaseModel], within: str = "") -> SettingsError:
    """What a validation found wrong first, as an error; unknown keys with the nearest known one.

    Args:
        error: What Pydantic raised.
        model: What was validated.
        within: What messages put before a key.
    """
    # An unknown key goes before one that is missing: mostly they are the same, misspelt.
    for found in error.errors():
        if found["type"] == "extra_forbidden":
            *path, key = map(str, found["loc"])
            prefix = within + "".join(f"{part}." for part in path)
            return unknown_setting(prefix, key, _fields_at(model, found["loc"][:-1]))
    return SettingsError(first_problem(error, within))


def first_problem(error: ValidationError, within: str = "") -> str:
    """The first thing that a validation found wrong, in one line.

    Args:
        error: What Pydantic raised.
        within: What messages put before a key.
    """
    first = error.errors()[0]
    name = within + ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"'{name}' is missing"
    if first["loc"][-1:] == ("[key]",):
        return _unknown_key(first, within)
    rule, received = first["msg"].removeprefix("Value error, "), first["input"]
    if first["type"] in _LISTS:
        rule = f"expected a list, such as [{received}]"
    if not isinstance(received, Mapping | BaseModel):
        return f"setting '{name}' holds {_cut(repr(received))}: {rule}"
    # The rule is about several keys; their names and values are in its words.
    return f"setting '{name}': {rule}" if first["loc"] else rule


def _unknown_key(problem: Any, within: str) -> str:
    *path, key, _ = problem["loc"]
    name, rule = within + ".".join(map(str, path)), problem["msg"].removeprefix("Input should be ")
    # YAML takes {a:b} for one word.
    hint = "; in YAML a blank follows each colon" if ":" in str(key) else ""
    return f"setting '{name}' has no {_cut(repr(key))}: expected {rule}{hint}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _fields_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The keys that a place within a model knows; none if it cannot be told."""
    inner: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, str) and inner is not None and part in inner.model_fields:
            inner = _model_in(inner.model_fields[part].annotation)
    return [] if inner is None else list(inner.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as ``tuple[Model, ...]``; None if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
