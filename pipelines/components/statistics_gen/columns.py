"""An Arrow record batch of tfx-bsl, taken apart into columns of plain values.

tfx-bsl gives a feature of a ``tf.Example`` or of a context as a list a record, and puts the
feature lists of a ``SequenceExample`` into one struct, each a list of lists a record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Kind = Literal["bytes", "int", "float", "struct", "none"]
Path = tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """One feature in one batch.

    Args:
        path: Its name; below ``##SEQUENCE##`` a feature list has two steps.
        kind: What its values are; ``none`` where no record of the batch has one.
        present: How many records have the feature.
        lengths: How many values stand in each list that is there, outermost lists first;
            a feature list has two levels, its steps and the values of a step.
        absent_lists: How many lists of each level are missing in a list that is there.
        values: All values, flat.
    """

    path: Path
    kind: Kind
    present: int
    lengths: tuple[npt.NDArray[np.int64], ...]
    absent_lists: tuple[int, ...]
    values: Any


def columns_of(batch: Any) -> Iterator[Column]:
    """The columns of a record batch, structs before what is in them."""
    for field, array in zip(batch.schema, batch.columns, strict=True):
        yield from _columns(array, (field.name,))


def _columns(array: Any, path: Path) -> Iterator[Column]:
    if pa.types.is_struct(array.type):
        present = len(array) - array.null_count
        yield Column(path, "struct", present, (np.ones(present, np.int64),), (0,), None)
        for field in array.type:
            yield from _columns(pc.struct_field(array, [field.name]), (*path, field.name))
        return
    present = len(array) - array.null_count
    lengths: list[npt.NDArray[np.int64]] = []
    absent: list[int] = []
    while pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        absent.append(array.null_count if lengths else 0)
        found = pc.drop_null(pc.list_value_length(array))
        lengths.append(found.to_numpy(zero_copy_only=False).astype(np.int64))
        array = pc.list_flatten(array)
    yield Column(path, _kind(array.type), present, tuple(lengths), tuple(absent), array)


def _kind(of_type: Any) -> Kind:
    if pa.types.is_integer(of_type):
        return "int"
    if pa.types.is_floating(of_type):
        return "float"
    return "none" if pa.types.is_null(of_type) else "bytes"
