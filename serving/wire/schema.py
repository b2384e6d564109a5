"""A few words to write protobuf messages down in Python, in the order of a .proto file.

Source: https://protobuf.dev/programming-guides/proto3 and descriptor.proto.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2 as pb
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

_KINDS: Final = {
    name.removeprefix("TYPE_").lower(): number
    for name, number in pb.FieldDescriptorProto.Type.items()
}


class OneOf(NamedTuple):
    """Fields of which at most one is set."""

    name: str
    fields: tuple[Any, ...]


class MapField(NamedTuple):
    """A map, which on the wire is a repeated message of key and value."""

    field: Any
    entry: Any


def field(name: str, number: int, kind: str) -> Any:
    """One value; ``kind`` is a scalar such as ``int64``, or the name of a message or an enum."""
    return _field(name, number, kind, pb.FieldDescriptorProto.LABEL_OPTIONAL)


def repeated(name: str, number: int, kind: str) -> Any:
    """Many values; numbers are packed, as proto3 has it."""
    return _field(name, number, kind, pb.FieldDescriptorProto.LABEL_REPEATED)


def optional(name: str, number: int, kind: str) -> OneOf:
    """A scalar of which it is known whether it was set: proto3 keeps it in a oneof of its own."""
    single = field(name, number, kind)
    single.proto3_optional = True
    return OneOf(f"_{name}", (single,))


def oneof(name: str, *fields: Any) -> OneOf:
    """At most one of the fields."""
    return OneOf(name, fields)


def map_field(name: str, number: int, key: str, value: str) -> MapField:
    """A map from a scalar to any kind."""
    entry = message(
        "".join(word.capitalize() for word in name.split("_")) + "Entry",
        field("key", 1, key),
        field("value", 2, value),
    )
    entry.options.map_entry = True
    return MapField(repeated(name, number, entry.name), entry)


def enum(name: str, **values: int) -> Any:
    """An enum; the first value must be 0."""
    numbered = [pb.EnumValueDescriptorProto(name=key, number=n) for key, n in values.items()]
    return pb.EnumDescriptorProto(name=name, value=numbered)


def message(name: str, *parts: Any) -> Any:
    """A message of fields, maps, oneofs, and messages and enums that are nested in it."""
    proto = pb.DescriptorProto(name=name)
    for part in parts:
        _add(proto, part)
    return proto


def file(package: str, *definitions: Any, needs: tuple[str, ...] = ()) -> Any:
    """All that a package holds, as one file named as the package is.

    Args:
        package: Such as ``tensorflow.serving``.
        definitions: Messages and enums.
        needs: Packages whose names are used.
    """
    return pb.FileDescriptorProto(
        name=package,
        package=package,
        syntax="proto3",
        dependency=needs,
        message_type=[d for d in definitions if isinstance(d, pb.DescriptorProto)],
        enum_type=[d for d in definitions if isinstance(d, pb.EnumDescriptorProto)],
    )


def build_classes(files: Iterable[Any]) -> dict[str, Any]:
    """The classes of what the files define, by their names, in a descriptor pool of their own.

    Args:
        files: What ``file`` made; each before those that need it.

    Raises:
        TypeError: if a file uses a name that is not defined.
    """
    pool, classes = descriptor_pool.DescriptorPool(), dict[str, Any]()
    for definitions in files:
        pool.AddSerializedFile(definitions.SerializeToString())
        for message_type in definitions.message_type:
            descriptor = pool.FindMessageTypeByName(f"{definitions.package}.{message_type.name}")
            classes[message_type.name] = message_factory.GetMessageClass(descriptor)
        for enum_type in definitions.enum_type:
            descriptor = pool.FindEnumTypeByName(f"{definitions.package}.{enum_type.name}")
            classes[enum_type.name] = EnumTypeWrapper(descriptor)
    return classes


def _field(name: str, number: int, kind: str, label: int) -> Any:
    proto = pb.FieldDescriptorProto(name=name, number=number, label=label)
    if kind in _KINDS:
        proto.type = _KINDS[kind]
    else:
        # The pool looks the name up, from the innermost scope outwards, and finds its type.
        proto.type_name = kind
    return proto


def _add(proto: Any, part: Any) -> None:
    if isinstance(part, OneOf):
        for single in part.fields:
            single.oneof_index = len(proto.oneof_decl)
        proto.oneof_decl.add(name=part.name)
        proto.field.extend(part.fields)
    elif isinstance(part, MapField):
        proto.field.append(part.field)
        proto.nested_type.append(part.entry)
    elif isinstance(part, pb.FieldDescriptorProto):
        proto.field.append(part)
    elif isinstance(part, pb.EnumDescriptorProto):
        proto.enum_type.append(part)
    else:
        proto.nested_type.append(part)
