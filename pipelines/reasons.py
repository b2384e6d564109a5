"""What differs between two keys or settings, in words; hashes stay in the record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_SHOWN: Final = 3

Change = tuple[tuple[str, ...], Any, Any]
"""A place, and what stood there before and stands there now; None where nothing does."""


def reasons(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Where a node's key differs from an earlier one: each reason once, causes outside first.

    Args:
        before: The earlier key, as ``cache_key.key_of`` gives it.
        now: The key.
    """
    found = list(_changes(before, now))
    read_anew = {path[1] for path, *_ in found if path[0] == "inputs"}
    # That inputs stand in another order goes without saying where they are others.
    told = [one for one in found if one[0][0] != "order" or one[0][1] not in read_anew]
    told.sort(key=lambda one: one[0][0] == "inputs")
    return list(dict.fromkeys(_reason(*one) for one in told))


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Where settings differ from earlier ones, one line for each."""
    return [_value(".".join(path), *values) for path, *values in _changes(before, now)]


def shortened(lines: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "; ".join([*lines[:_SHOWN], *more])


def _changes(before: Any, now: Any, path: tuple[str, ...] = ()) -> Iterator[Change]:
    """Places in the order of their names; a folder that one side lacks is walked through."""
    sides = (before, now)
    if any(isinstance(side, Mapping) for side in sides) and all(
        side is None or isinstance(side, Mapping) for side in sides
    ):
        before, now = before or {}, now or {}
        for key in sorted({*before, *now}):
            yield from _changes(before.get(key), now.get(key), (*path, key))
    elif before != now:
        yield path, before, now


def _reason(path: tuple[str, ...], before: Any, now: Any) -> str:
    part, *names = path
    if part == "inputs":
        maker = names[-1]
        if before is None or now is None:
            return f"{maker} is read {'now' if before is None else 'no more'}"
        return f"{maker} made something else"
    if part == "order":
        return f"its {names[0]} stand in another order"
    if part == "parameters":
        return _value(".".join(names), before, now, short=names[-1])
    return _value(f"the component's {'name' if part == 'component' else part}", before, now)


def _value(name: str, before: Any, now: Any, short: str = "") -> str:
    if _is_hash(before) or _is_hash(now):  # of a file, by its name
        name = (short or name).replace("_digest", "")
        return f"{name} {'is new' if before is None else 'is gone' if now is None else 'changed'}"
    return f"{name} is {_shown(now)}, it was {_shown(before)}"


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
