"""A schema as a file, and the constraints that tensorflow_metadata has no field for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from idp_tf.errors import DataError, MissingDataError

SCHEMA_FILE: Final = "schema.pbtxt"
USERS, ITEMS = "users", "items"
"""Environments: one schema says what is expected of users and of items."""
ENVIRONMENTS: Final[Mapping[str, str]] = {"train": USERS, "eval": USERS, "all": ITEMS}
"""The environment of each split."""

EMPTY_SHARE: Final = "max_empty_share"
DUPLICATE_SHARE: Final = "max_duplicate_share"


def read_schema(file: Path) -> Any:
    """A ``Schema`` from its text form.

    Raises:
        MissingDataError: if there is no such file.
        DataError: if it is no schema; the error says in which line.
    """
    from google.protobuf import (
        struct_pb2,  # noqa: F401  its name must be known where constraints are read
        text_format,
    )
    from tensorflow_metadata.proto.v0 import schema_pb2

    if not file.is_file():
        raise MissingDataError("there is no schema", where=file, remedy="check the path")
    try:
        schema = text_format.Parse(file.read_text(encoding="utf-8"), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise DataError(
            f"this is no schema of tensorflow_metadata: {error}",
            where=file,
            remedy="mend that line, or leave the schema out to have it inferred",
        ) from error
    _pack_alike(schema.feature)
    return schema


def _pack_alike(features: Any) -> None:
    """Has equal annotations be equal bytes: they are packed, and maps in them have no order."""
    from google.protobuf import struct_pb2

    for feature in features:
        for packed in feature.annotation.extra_metadata:
            kept = struct_pb2.Struct()
            if packed.Unpack(kept):
                packed.Pack(kept, deterministic=True)
        _pack_alike(feature.struct_domain.feature)


def set_limits(feature: Any, limits: Mapping[str, float]) -> None:
    """Puts limits on the shares of a feature's values into its annotation."""
    from google.protobuf import struct_pb2

    kept = struct_pb2.Struct()
    kept.update(dict(limits))
    feature.annotation.extra_metadata.add().Pack(kept, deterministic=True)


def limits_of(feature: Any) -> dict[str, float]:
    """The limits that ``set_limits`` has put there, or a person has."""
    from google.protobuf import struct_pb2

    found: dict[str, float] = {}
    for packed in feature.annotation.extra_metadata:
        kept = struct_pb2.Struct()
        if packed.Unpack(kept):
            found.update((k, v) for k, v in dict(kept).items() if isinstance(v, float))
    return found


def features_of(schema: Any, environment: str) -> dict[tuple[str, ...], Any]:
    """The features that an environment expects, by their paths, structs before what is in them."""
    found: dict[tuple[str, ...], Any] = {}
    _collect(schema.feature, (), environment, tuple(schema.default_environment), found)
    return found


def _collect(
    features: Any,
    above: tuple[str, ...],
    environment: str,
    default: tuple[str, ...],
    found: dict[tuple[str, ...], Any],
) -> None:
    for feature in features:
        # What no environment is named for is expected in all, as TFDV has it.
        named = tuple(feature.in_environment) or default
        if environment in feature.not_in_environment or (named and environment not in named):
            continue
        path = (*above, feature.name)
        found[path] = feature
        # What is in a struct is where the struct is, unless it says otherwise.
        _collect(feature.struct_domain.feature, path, environment, (), found)
