"""Vectors of items as TFRecords: which shard holds what, and how they are written and read.

A title's shard is told by the first bits of its digest, and the number of shards is a power of
two. So equal titles meet in one shard, and a shard of one inference result is a part of one of
another, or made of whole ones, however many shards either has.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.errors import DataError, MissingDataError

ENCODER_FILE: Final = "encoder.json"
ITEM_ID, VECTOR, DIGEST = "item_id", "vector", "title_digest"
MAX_SHARDS: Final = 1 << 16
_PREFIX_BITS: Final = 64
_REMEDY: Final = "run BulkInferrer again"

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Vectors:
    """Items and their title vectors.

    Args:
        item_ids: n external ids.
        vectors: Shape (n, width); zeros for an item without a title.
        digests: The digest of each title.
    """

    item_ids: list[str]
    vectors: Float32Array
    digests: list[str]


def title_digest(title: str) -> str:
    """What tells titles apart: SHA-256 of the title, in hexadecimal digits."""
    return hashlib.sha256(title.encode()).hexdigest()


def choose_num_shards(num_items: int, shard_items: int) -> int:
    """The least power of two with at most ``shard_items`` items in a shard on average.

    But at most 65,536 shards.

    Example:
        >>> choose_num_shards(10_000, 4096), choose_num_shards(10, 4096)
        (4, 1)
    """
    wanted = max(1, -(-num_items // shard_items))
    return min(MAX_SHARDS, 1 << (wanted - 1).bit_length())


def shard_of(digest: str, num_shards: int) -> int:
    """The shard of a title, told by the first bits of its digest."""
    return int(digest[: _PREFIX_BITS // 4], 16) * num_shards >> _PREFIX_BITS


def shard_name(shard: int, num_shards: int) -> str:
    """A shard's file, named as TFX names them."""
    return f"vectors_tfrecord-{shard:05d}-of-{num_shards:05d}.gz"


def shard_files(folder: Path) -> list[Path]:
    """All shards of an inference result, in their order.

    Raises:
        MissingDataError: if there are none.
        DataError: if one is missing.
    """
    files = sorted(folder.glob("vectors_tfrecord-*.gz"))
    if not files:
        raise MissingDataError("there are no vectors_tfrecord-* files", where=folder)
    number = int(files[0].name[:-3].rpartition("-")[2])
    if [file.name for file in files] != [shard_name(i, number) for i in range(number)]:
        raise DataError(f"{len(files)} of {number} shards are there", where=folder, remedy=_REMEDY)
    return files


def overlapping(files: Sequence[Path], shard: int, num_shards: int) -> list[Path]:
    """Those of another result's shards that may hold titles of this one's shard."""
    number = len(files)
    if number <= num_shards:
        return [files[shard * number // num_shards]]
    parts = number // num_shards
    return list(files[shard * parts : (shard + 1) * parts])


def write_shard(file: Path, found: Vectors) -> None:
    """Writes a shard, whole or not at all."""
    import tensorflow as tf

    fresh = file.with_name(f"{file.name}.{uuid.uuid4().hex}.tmp")
    # Floats hardly shrink, however hard one tries.
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
    with tf.io.TFRecordWriter(str(fresh), options) as writer:
        for item, vector, digest in zip(found.item_ids, found.vectors, found.digests, strict=True):
            record = tf.train.Example()
            features = record.features.feature
            features[ITEM_ID].bytes_list.value.append(item.encode())
            features[VECTOR].float_list.value.extend(vector.tolist())
            features[DIGEST].bytes_list.value.append(digest.encode())
            writer.write(record.SerializeToString(deterministic=True))
    os.replace(fresh, file)


def read_shards(files: Sequence[Path]) -> Vectors:
    """Reads some shards.

    Raises:
        DataError: if a file is damaged or holds something else.
    """
    ids: list[str] = []
    digests: list[str] = []
    parts: list[Float32Array] = []
    for batch in _batches(files):
        ids += [item.decode() for item in _flat(batch, ITEM_ID).to_pylist()]
        digests += [digest.decode() for digest in _flat(batch, DIGEST).to_pylist()]
        values = _flat(batch, VECTOR).to_numpy(zero_copy_only=False)
        parts.append(values.reshape(batch.num_rows, -1).astype(np.float32, copy=False))
    vectors = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
    return Vectors(ids, vectors, digests)


def read_vectors(folder: Path) -> Vectors:
    """Reads a whole inference result; see ``shard_files`` and ``read_shards`` for what is raised.

    Held in memory: all of its vectors, 4 bytes a number.
    """
    return read_shards(shard_files(folder))


def read_encoder(folder: Path) -> dict[str, Any]:
    """The content of ``encoder.json``.

    Raises:
        MissingDataError: if it is not there.
        DataError: if it is damaged.
    """
    file = folder / ENCODER_FILE
    if not file.is_file():
        raise MissingDataError(f"there is no {ENCODER_FILE}", where=folder, remedy=_REMEDY)
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"the file is damaged: {error}", where=file, remedy=_REMEDY) from error
    return content


def _batches(files: Sequence[Path]) -> Iterator[Any]:
    """Arrow record batches of the files, one after another."""
    import tensorflow as tf
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    schema = schema_pb2.Schema()
    for name in (ITEM_ID, DIGEST):
        schema.feature.add(name=name, type=schema_pb2.BYTES)
    schema.feature.add(name=VECTOR, type=schema_pb2.FLOAT)
    decoder = ExamplesToRecordBatchDecoder(schema.SerializeToString())
    for file in files:
        records = tf.data.TFRecordDataset(str(file), "GZIP").batch(4096)
        try:
            for block in records.as_numpy_iterator():
                yield decoder.DecodeBatch(block.tolist())
        except (tf.errors.OpError, RuntimeError, ValueError) as error:
            raise DataError(f"the file is damaged: {error}", where=file, remedy=_REMEDY) from error


def _flat(batch: Any, name: str) -> Any:
    import pyarrow.compute as pc

    return pc.list_flatten(batch.column(batch.schema.get_field_index(name)))
