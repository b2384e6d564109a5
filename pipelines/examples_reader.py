"""Examples in TFX's layout, read back by tfx-bsl's TFXIO."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.data.schema import PAD_ID, IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import DataError, MissingDataError, WorkdirError

COUNTS: Final = "counts.json"


@dataclass(frozen=True)
class UserSequences:
    """What ``read_sequences`` found.

    Args:
        user_ids: ``user_ids[u]`` is row ``u`` of the sequences; in the order of the ids.
        item_ids: The internal ids that the sequences use.
        sequences: Each user's items, oldest first.
    """

    user_ids: list[str]
    item_ids: IdMap
    sequences: Sequences


def read_sequences(
    pattern: str, item_ids: IdMap | None = None, *, beam_args: Sequence[str] = ()
) -> UserSequences:
    """Reads examples back by tfx-bsl's TFXIO, as Arrow record batches.

    Users come in the order of their ids, as in a prepared domain, whatever the files' order.

    Args:
        pattern: A glob pattern of TFRecord files, such as ``…/Split-eval/*.gz``.
        item_ids: The ids' internal numbers, such as a domain's; by default all ids that are
            found, sorted.
        beam_args: Options for Beam.

    Raises:
        MissingDependencyError: if Beam or tfx-bsl is not installed.
        MissingDataError: if no file matches.
        DataError: if the files are damaged or hold something else, a user stands there
            twice, or an item is not in ``item_ids``.
    """
    from pipelines.sequence_examples import build_options, write_batches

    options = build_options(beam_args)
    files = _matching(pattern)
    with tempfile.TemporaryDirectory(prefix="idp-tf-") as scratch:
        try:
            streams = write_batches(pattern, Path(scratch), options)
            found = _sequences(_joined(streams, pattern), item_ids, pattern)
        except (OSError, ValueError, RuntimeError, zlib.error) as error:
            raise _unreadable(pattern, str(error)) from error
    _check_counts(files, len(found.user_ids), pattern)
    return found


def read_counts(execution: Path) -> dict[str, Any]:
    """The ``counts.json`` of an execution.

    Raises:
        WorkdirError: if it is damaged.
    """
    try:
        counts: dict[str, Any] = json.loads((execution / COUNTS).read_text(encoding="utf-8"))
    except ValueError as error:
        raise WorkdirError(
            f"{COUNTS} is damaged: {error}", where=execution, remedy="remove that folder"
        ) from error
    return counts


def _matching(pattern: str) -> list[Path]:
    from apache_beam.io.filesystems import FileSystems

    files = [Path(found.path) for found in FileSystems.match([pattern])[0].metadata_list]
    if not files:
        raise MissingDataError(
            "no file matches", where=pattern, remedy="run pipelines.example_gen first"
        )
    return files


def _sequences(table: Any, item_ids: IdMap | None, pattern: str) -> UserSequences:
    """Stays in Arrow's columns until items are numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from pipelines.sequence_examples import ITEM_IDS, SEQUENCE, USER_ID

    steps = pc.struct_field(table[SEQUENCE], [ITEM_IDS])
    if not pc.all(pc.greater(pc.fill_null(pc.list_value_length(steps), 0), 0)).as_py():
        raise _unreadable(pattern, f"a record has no {ITEM_IDS}")
    for lists, what in ((table[USER_ID], USER_ID), (pc.list_flatten(steps), f"step's {ITEM_IDS}")):
        if not pc.all(pc.equal(pc.fill_null(pc.list_value_length(lists), 0), 1)).as_py():
            raise _unreadable(pattern, f"a record's {what} is not one string")
    users = pc.list_flatten(table[USER_ID]).cast(pa.large_string())
    by_user = pa.table({USER_ID: users, ITEM_IDS: steps}).sort_by(USER_ID)
    user_ids = by_user[USER_ID].to_pylist()
    for user, following in pairwise(user_ids):
        if user == following:
            raise DataError(
                f"user {user!r} stands there twice", where=pattern, remedy="read one split at once"
            )
    items = pc.list_flatten(pc.list_flatten(by_user[ITEM_IDS])).cast(pa.large_string())
    lengths = pc.list_value_length(by_user[ITEM_IDS]).to_numpy()
    ids = item_ids or IdMap(sorted(pc.unique(items).to_pylist()))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return UserSequences(user_ids, ids, Sequences(_internal(items, ids, pattern), offsets))


def _joined(streams: Sequence[Path], pattern: str) -> Any:
    """All batches as one table over the mapped files."""
    import pyarrow as pa

    if not streams:
        raise _unreadable(pattern, "there is no record in them")
    return pa.concat_tables(
        pa.ipc.open_stream(pa.memory_map(str(stream))).read_all() for stream in streams
    )


def _internal(items: Any, item_ids: IdMap, pattern: str) -> npt.NDArray[np.int32]:
    """External ids -> internal ids, none of them unknown."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pa.array(item_ids.external_ids, pa.large_string())
    codes = pc.fill_null(pc.index_in(items, value_set=known), PAD_ID - 1).to_numpy()
    unknown = np.flatnonzero(codes < 0)
    if unknown.size:
        raise DataError(
            f"the item {items[int(unknown[0])].as_py()!r} is not among the {item_ids.size} items",
            where=pattern,
            remedy="give the items of the domain that the examples were made from",
        )
    return np.asarray(codes + 1, np.int32)


def _check_counts(files: Sequence[Path], num_users: int, pattern: str) -> None:
    """A file that was cut off between two records reads without an error, but short."""
    expected = 0
    for file in files:
        execution, split = file.parent.parent, file.parent.name.removeprefix("Split-")
        splits = read_counts(execution)["splits"] if (execution / COUNTS).is_file() else {}
        if split not in splits:
            return  # not ours, so there is nothing to compare with
        expected += splits[split]["records"]
    if num_users != expected:
        raise _unreadable(pattern, f"{COUNTS} says {expected} records, {num_users} are there")


def _unreadable(pattern: str, why: str) -> DataError:
    return DataError(
        f"these are no whole TFRecords of users' sequences: {why}",
        where=pattern,
        remedy="remove that execution and run pipelines.example_gen again",
    )
