"""Contents for any protobuf message, as plain values, and what fills a message with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st

TEXTS = st.text(st.characters(codec="utf-8"), max_size=4)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False),
    FieldDescriptor.TYPE_FLOAT: st.floats(allow_nan=False, width=32),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_SINT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=4),
}


def is_map(field: Any) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


def contents(
    descriptor: Any, chosen: Callable[[Any], bool] = lambda field: True, depth: int = 3
) -> st.SearchStrategy[dict[str, Any]]:
    """Field name -> value, for some of the fields; messages stop at a depth."""
    fields = [f for f in descriptor.fields if chosen(f) and (depth or not f.message_type)]
    if not fields:
        return st.just({})
    return st.lists(st.sampled_from(fields), unique_by=lambda f: f.name, max_size=4).flatmap(
        lambda some: st.fixed_dictionaries({f.name: values(f, chosen, depth) for f in some})
    )


def values(field: Any, chosen: Callable[[Any], bool], depth: int) -> st.SearchStrategy[Any]:
    if is_map(field):
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        return st.dictionaries(
            values(key, chosen, depth), values(value, chosen, depth - 1), max_size=2
        )
    single: st.SearchStrategy[Any]
    if field.message_type:
        single = contents(field.message_type, chosen, depth - 1)
    elif field.enum_type:
        # An enum of proto3 is open: a number without a name is kept.
        single = st.sampled_from([*(v.number for v in field.enum_type.values), 77])
    else:
        single = SCALARS[field.type]
    return st.lists(single, max_size=3) if field.is_repeated else single


def fill(message: Any, content: dict[str, Any]) -> Any:
    """The message with that content; of a oneof, the last one stays."""
    for name, value in content.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        place = getattr(message, name)
        if is_map(field) and field.message_type.fields_by_name["value"].message_type:
            for key, inner in value.items():
                fill(place[key], inner)
        elif is_map(field):
            place.update(value)
        elif field.message_type and field.is_repeated:
            for inner in value:
                fill(place.add(), inner)
        elif field.message_type:
            place.SetInParent()
            fill(place, value)
        elif field.is_repeated:
            place.extend(value)
        else:
            setattr(message, name, value)
    return message
