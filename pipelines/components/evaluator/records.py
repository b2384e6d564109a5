"""Users as Arrow batches, read by tfx-bsl's TFXIO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.data.examples import ITEM_IDS, SEQUENCE, USER_ID, user_schema
from idp_tf.data.sequences import LEAVE_OUT_TEST, Sequences
from idp_tf.errors import DataError, requires_extra

with requires_extra("pipelines", purpose="the component Evaluator"):
    import pyarrow as pa
    import pyarrow.compute as pc
    from tfx_bsl.tfxio.tf_sequence_example_record import TFSequenceExampleRecord

MIN_EVALUATED: Final = LEAVE_OUT_TEST + 1
"""A user has an item to be found, and one before it."""


def source(pattern: str) -> Any:
    """A Beam source of Arrow batches of users.

    Args:
        pattern: A glob pattern of TFRecord files of SequenceExamples.
    """
    return TFSequenceExampleRecord(pattern, ["Evaluator"], schema=user_schema()).BeamSource()


def decoded(batch: pa.RecordBatch, known: pa.Array, least: int = 1) -> pa.Table:
    """Columns ``user_id`` (binary) and ``item_ids`` (for each user a list of internal ids).

    Args:
        batch: A batch of a ``source``.
        known: External ids; the first one is the internal id 1.
        least: Fewest items of a user.

    Raises:
        DataError: if a record is no user's sequence, or an item is unknown.
    """
    steps = pc.struct_field(batch.column(SEQUENCE), [ITEM_IDS])
    users = batch.column(USER_ID)
    _check_one(users, USER_ID)
    _check_one(pc.list_flatten(steps), f"step's {ITEM_IDS}")
    lengths = pc.fill_null(pc.list_value_length(steps), 0).to_numpy(zero_copy_only=False)
    if lengths.size and lengths.min() < least:
        raise DataError(f"a record has fewer than {least} {ITEM_IDS}", where="Examples")
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    codes = _codes(pc.list_flatten(pc.list_flatten(steps)).cast(pa.large_binary()), known)
    return pa.table(
        {
            USER_ID: pc.list_flatten(users).cast(pa.large_binary()),
            ITEM_IDS: pa.LargeListArray.from_arrays(offsets, codes),
        }
    )


def sequences(users: pa.Table) -> Sequences:
    """The sequences of users as ``decoded`` gives them, or of a slice of these."""
    lengths = pc.list_value_length(users[ITEM_IDS]).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(pc.list_flatten(users[ITEM_IDS]).to_numpy(), offsets)


def known_ids(external_ids: Sequence[str]) -> pa.Array:
    """External ids as ``decoded`` wants them."""
    return pa.array([item.encode() for item in external_ids], pa.large_binary())


def _codes(items: pa.Array, known: pa.Array) -> npt.NDArray[np.int32]:
    codes = pc.fill_null(pc.index_in(items, value_set=known), -1).to_numpy(zero_copy_only=False)
    if codes.size and codes.min() < 0:
        item = items[int(np.argmin(codes))].as_py().decode(errors="replace")
        raise DataError(
            f"the item {item!r} is not among the {len(known)} items",
            where="Examples",
            remedy="give the Items that ExampleGen made along with these Examples",
        )
    return np.asarray(codes + 1, np.int32)


def _check_one(lists: pa.Array, what: str) -> None:
    if not pc.all(pc.equal(pc.fill_null(pc.list_value_length(lists), 0), 1)).as_py():
        raise DataError(f"a record's {what} is not one string", where="Examples")
