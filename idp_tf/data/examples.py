"""Domains as TFRecords: users as SequenceExamples, items as Examples, read by tfx-bsl.

A user, ``tf.train.SequenceExample``::

    context         user_id    one string
    feature_lists   item_ids   one string a step, oldest first

An item, ``tf.train.Example``: ``item_id`` and ``title``, one string each, and ``internal_id``, one
int64 from 1. The order of records and of files means nothing: users are put in the order of their
ids, items in that of their internal ids, as in a prepared domain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.data.domain import Domain
from idp_tf.data.schema import PAD_ID, IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import DataError, MissingDataError, requires_extra

if TYPE_CHECKING:
    import pyarrow as pa
    import tensorflow as tf
    from tensorflow_metadata.proto.v0 import schema_pb2

SEQUENCE: Final = "##SEQUENCE##"
"""The column under which tfx-bsl puts all feature lists."""
USER_ID: Final = "user_id"
ITEM_IDS: Final = "item_ids"
ITEM_ID: Final = "item_id"
INTERNAL_ID: Final = "internal_id"
TITLE: Final = "title"

_BATCH: Final = 4096

DatasetFactory = Callable[[list[str], Any, Any], "tf.data.Dataset"]
"""``data_accessor.tf_dataset_factory`` of TFX: patterns, TFXIO's options, a schema -> batches."""


def user_schema() -> schema_pb2.Schema:
    """The schema of users, from which tfx-bsl gives Arrow columns and TensorFlow tensors."""
    with requires_extra("pipelines", purpose="reading TFRecords of users"):
        from tensorflow_metadata.proto.v0 import schema_pb2

    schema = schema_pb2.Schema()
    _add_one(schema, USER_ID, schema_pb2.BYTES)
    steps = schema.feature.add(name=SEQUENCE, type=schema_pb2.STRUCT).struct_domain
    items = steps.feature.add(name=ITEM_IDS, type=schema_pb2.BYTES)
    items.value_count.min = items.value_count.max = 1
    tensors = schema.tensor_representation_group[""].tensor_representation
    tensors[USER_ID].dense_tensor.column_name = USER_ID
    tensors[USER_ID].dense_tensor.shape.SetInParent()  # one string a user
    tensors[ITEM_IDS].ragged_tensor.feature_path.step.extend([SEQUENCE, ITEM_IDS])
    return schema


def item_schema() -> schema_pb2.Schema:
    """The schema of items."""
    with requires_extra("pipelines", purpose="reading TFRecords of items"):
        from tensorflow_metadata.proto.v0 import schema_pb2

    schema = schema_pb2.Schema()
    _add_one(schema, ITEM_ID, schema_pb2.BYTES)
    _add_one(schema, INTERNAL_ID, schema_pb2.INT)
    _add_one(schema, TITLE, schema_pb2.BYTES)
    return schema


def read_domain(
    name: str,
    users: Sequence[str],
    items: Sequence[str],
    *,
    dataset_factory: DatasetFactory | None = None,
) -> Domain:
    """A domain from its records, as preparation gave it to whoever wrote them.

    Holds the domain in memory, ids as numbers.

    Args:
        name: The domain's name.
        users: Glob patterns of TFRecords of users, such as ``["…/Split-eval/*"]``.
        items: Glob patterns of TFRecords of items.
        dataset_factory: What reads the users, if they lie in another way than in TFRecords that
            tfx-bsl's decoders read; TFX gives its trainers one.

    Raises:
        MissingDependencyError: if tfx-bsl is not installed.
        MissingDataError: if no file matches.
        DataError: if the files are damaged or hold something else, or users and items don't fit.
    """
    item_ids, titles = read_items(items)
    user_ids, sequences = read_users(users, item_ids, dataset_factory=dataset_factory)
    return Domain(name, item_ids, titles, user_ids, sequences, {"domain": name})


def read_items(patterns: Sequence[str]) -> tuple[IdMap, list[str]]:
    """The ids and the titles of items, by their internal ids; see ``read_domain``."""
    import pyarrow as pa

    with _as_data_errors(patterns):
        columns = [_item_columns(batch, patterns) for batch in _batches(patterns, _item_decoder)]
    if not columns:
        raise _unusable(patterns, "they hold no records")
    table = pa.concat_tables(columns).sort_by(INTERNAL_ID)
    internal = table[INTERNAL_ID].to_numpy()
    if not np.array_equal(internal, np.arange(1, len(internal) + 1)):
        raise _unusable(patterns, f"{INTERNAL_ID} are not 1 … {len(internal)}, each once")
    return IdMap(table[ITEM_ID].to_pylist()), table[TITLE].to_pylist()


def read_users(
    patterns: Sequence[str], item_ids: IdMap, *, dataset_factory: DatasetFactory | None = None
) -> tuple[list[str], Sequences]:
    """The ids of users, ascending as text, and their sequences; see ``read_domain``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pa.array(item_ids.external_ids, pa.large_string())
    batches = (
        _arrow_users(patterns)
        if dataset_factory is None
        else _tensor_users(patterns, dataset_factory)
    )
    with _as_data_errors(patterns):
        blocks = [_user_columns(*batch, known, patterns) for batch in batches]
    if not blocks:
        raise _unusable(patterns, "they hold no records")
    table = pa.concat_tables(blocks).sort_by(USER_ID)
    user_ids: list[str] = table[USER_ID].to_pylist()
    for user, following in pairwise(user_ids):
        if user == following:
            raise _unusable(patterns, f"the user {user!r} stands there twice")
    offsets = _offsets(pc.list_value_length(table[ITEM_IDS]).to_numpy())
    values = pc.list_flatten(table[ITEM_IDS]).to_numpy()
    return user_ids, Sequences(np.asarray(values, np.int32), offsets)


def _add_one(schema: schema_pb2.Schema, name: str, kind: int) -> None:
    feature = schema.feature.add(name=name, type=kind)
    feature.presence.min_fraction = 1.0
    feature.value_count.min = feature.value_count.max = 1


def _item_decoder() -> Any:
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    return ExamplesToRecordBatchDecoder(item_schema().SerializeToString())


def _user_decoder() -> Any:
    from tfx_bsl.coders.sequence_example_coder import SequenceExamplesToRecordBatchDecoder

    return SequenceExamplesToRecordBatchDecoder(SEQUENCE, user_schema().SerializeToString())


def _batches(patterns: Sequence[str], build_decoder: Any) -> Iterator[pa.RecordBatch]:
    """Arrow batches of the records of all files, by TFXIO's own decoders."""
    import tensorflow as tf

    files = _files(patterns)
    with requires_extra("pipelines", purpose="reading TFRecords"):
        decoder = build_decoder()
    packed = "GZIP" if files[0].endswith(".gz") else ""
    records = tf.data.TFRecordDataset(files, compression_type=packed).batch(_BATCH)
    for batch in records.as_numpy_iterator():
        yield decoder.DecodeBatch(batch)


def _files(patterns: Sequence[str]) -> list[str]:
    import tensorflow as tf

    files = [file for pattern in patterns for file in sorted(tf.io.gfile.glob(pattern))]
    if not files:
        raise MissingDataError("no file matches", where=", ".join(patterns))
    return files


def _arrow_users(patterns: Sequence[str]) -> Iterator[tuple[Any, Any, Any]]:
    """User ids, lengths and item ids, batch by batch, by TFXIO's own decoder."""
    import pyarrow.compute as pc

    for batch in _batches(patterns, _user_decoder):
        steps = pc.struct_field(batch.column(SEQUENCE), [ITEM_IDS])
        lengths = pc.fill_null(pc.list_value_length(steps), 0).to_numpy(zero_copy_only=False)
        items = _flat(pc.list_flatten(steps), f"step's {ITEM_IDS}", patterns)
        yield _ones(batch, USER_ID, patterns), lengths, items


def _tensor_users(
    patterns: Sequence[str], dataset_factory: DatasetFactory
) -> Iterator[tuple[Any, Any, Any]]:
    """The same by a TFXIO's tensors: of SequenceExamples it gives trainers no Arrow batches."""
    import pyarrow as pa
    from tfx_bsl.tfxio.dataset_options import TensorFlowDatasetOptions

    _files(patterns)
    options = TensorFlowDatasetOptions(_BATCH, num_epochs=1, shuffle=False)
    for batch in dataset_factory(list(patterns), options, user_schema()):
        steps = batch[ITEM_IDS]  # (users, steps, 1)
        if not bool((steps.values.row_lengths().numpy() == 1).all()):
            raise _unusable(patterns, f"a record's step's {ITEM_IDS} is not one value")
        users, items = (
            pa.array(ids.numpy(), pa.large_binary()) for ids in (batch[USER_ID], steps.flat_values)
        )
        yield users, steps.row_lengths().numpy(), items


@contextmanager
def _as_data_errors(patterns: Sequence[str]) -> Iterator[None]:
    """What TensorFlow, tfx-bsl and Arrow raise on damaged or strange records, as one error."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.OpError, ValueError, RuntimeError, KeyError) as error:
        raise _unusable(patterns, str(error)) from error


def _item_columns(batch: pa.RecordBatch, patterns: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {
            ITEM_ID: _ones(batch, ITEM_ID, patterns).cast(pa.large_string()),
            INTERNAL_ID: _ones(batch, INTERNAL_ID, patterns),
            TITLE: _ones(batch, TITLE, patterns).cast(pa.large_string()),
        }
    )


def _user_columns(
    users: Any, lengths: npt.NDArray[Any], items: Any, known: Any, patterns: Sequence[str]
) -> pa.Table:
    """Columns ``user_id`` and, as lists of internal ids, ``item_ids``."""
    import pyarrow as pa

    if lengths.min() < 1:
        raise _unusable(patterns, f"a record has no {ITEM_IDS}")
    codes = _internal(items.cast(pa.large_string()), known, patterns)
    return pa.table(
        {
            USER_ID: users.cast(pa.large_string()),
            ITEM_IDS: pa.LargeListArray.from_arrays(_offsets(lengths), codes),
        }
    )


def _internal(items: Any, known: Any, patterns: Sequence[str]) -> npt.NDArray[np.int32]:
    """External ids -> internal ids, none of them unknown."""
    import pyarrow.compute as pc

    codes = pc.fill_null(pc.index_in(items, value_set=known), PAD_ID - 1)
    codes = codes.to_numpy(zero_copy_only=False)
    unknown = np.flatnonzero(codes < 0)
    if unknown.size:
        item = items[int(unknown[0])].as_py()
        raise _unusable(patterns, f"the item {item!r} is not among the {len(known)} items")
    return np.asarray(codes + 1, np.int32)


def _ones(batch: pa.RecordBatch, name: str, patterns: Sequence[str]) -> Any:
    """A column that has one value in each record."""
    if name not in batch.schema.names:
        raise _unusable(patterns, f"records have no {name}")
    return _flat(batch.column(name), name, patterns)


def _flat(lists: Any, what: str, patterns: Sequence[str]) -> Any:
    import pyarrow.compute as pc

    if not pc.all(pc.equal(pc.fill_null(pc.list_value_length(lists), 0), 1)).as_py():
        raise _unusable(patterns, f"a record's {what} is not one value")
    return pc.list_flatten(lists)


def _offsets(lengths: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _unusable(patterns: Sequence[str], why: str) -> DataError:
    return DataError(
        f"these are no whole TFRecords of a domain: {why}",
        where=", ".join(patterns),
        remedy="make them again (ExampleGen)",
    )
