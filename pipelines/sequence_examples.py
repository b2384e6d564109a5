"""One user as one ``tf.train.SequenceExample``, and the Beam steps that write and read them.

context         user_id    one string
feature_lists   item_ids   one string a step, oldest first

Beam is imported with this module; who needs only names imports ``pipelines.example_gen``.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from idp_tf.data.sequences import LEAVE_OUT_TRAIN
from idp_tf.data.store import load_domain
from idp_tf.errors import SettingsError, requires_extra

with requires_extra("pipelines", purpose="a pipeline component"):
    import apache_beam as beam
    import pyarrow as pa
    import tensorflow as tf
    from apache_beam.metrics.metric import Metrics, MetricsFilter
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tfx_bsl.tfxio.tf_sequence_example_record import TFSequenceExampleRecord

if TYPE_CHECKING:
    from idp_tf.data.domain import Domain

SEQUENCE: Final = "##SEQUENCE##"
"""The column under which tfx-bsl puts all feature lists."""
USER_ID: Final = "user_id"
ITEM_IDS: Final = "item_ids"
TRAIN, EVAL = "train", "eval"
DATA_FILE: Final = "data_tfrecord"

_LOG = logging.getLogger(__name__)
_COUNTS: Final = "example_gen"
_LOCAL_RUNNERS: Final = ("directrunner", "direct", "fnapirunner", "fnapi")


def build_schema() -> schema_pb2.Schema:
    """The records' schema, from which tfx-bsl gives Arrow columns and TensorFlow tensors."""
    schema = schema_pb2.Schema()
    user = schema.feature.add(name=USER_ID, type=schema_pb2.BYTES)
    user.presence.min_fraction = 1.0
    user.value_count.min = user.value_count.max = 1
    steps = schema.feature.add(name=SEQUENCE, type=schema_pb2.STRUCT).struct_domain
    items = steps.feature.add(name=ITEM_IDS, type=schema_pb2.BYTES)
    items.value_count.min = items.value_count.max = 1
    tensors = schema.tensor_representation_group[""].tensor_representation
    tensors[USER_ID].dense_tensor.column_name = USER_ID
    tensors[USER_ID].dense_tensor.shape.SetInParent()  # one string a user
    tensors[ITEM_IDS].ragged_tensor.feature_path.step.extend([SEQUENCE, ITEM_IDS])
    return schema


def build_options(beam_args: Sequence[str]) -> PipelineOptions:
    """Beam's options, refused where Beam would drop them silently.

    Raises:
        SettingsError: if Beam knows no such option, or another runner is asked for.
    """
    options = PipelineOptions(list(beam_args))
    known = set(options.get_all_options())
    unknown = sorted(set(options.get_all_options(retain_unknown_options=True)) - known)
    if unknown:
        raise SettingsError(
            f"Beam has no option --{unknown[0]}", where="Beam options", remedy="leave it out"
        )
    runner = options.view_as(StandardOptions).runner
    if runner is not None and runner.lower() not in _LOCAL_RUNNERS:
        raise SettingsError(
            f"the runner {runner!r} is asked for, but files are local, and so is the runner",
            where="--runner",
            remedy="leave --runner out",
        )
    return options


def build_pipeline(options: PipelineOptions) -> beam.Pipeline:
    """A pipeline on the local batch runner.

    ``DirectRunner`` by name would try Prism first, whose binary comes over the network;
    ``FnApiRunner`` is what it runs batches on otherwise.
    """
    return beam.Pipeline(runner=FnApiRunner(), options=options)


def write_splits(
    domain: Path, num_users: int, folder: Path, options: PipelineOptions, block_users: int
) -> dict[str, dict[str, int]]:
    """Writes both splits of a prepared domain under ``folder``.

    Only the borders of blocks and serialized records pass through Beam. One worker, which is
    Beam's default, keeps the users' order, so the same domain gives the same bytes.

    Returns:
        Records and interactions of each split, as counted while they were encoded.
    """
    borders = [
        (begin, min(begin + block_users, num_users)) for begin in range(0, num_users, block_users)
    ]
    pipeline = build_pipeline(options)
    blocks = pipeline | "Blocks" >> beam.Create(borders, reshuffle=False)
    records = blocks | "Encode" >> beam.ParDo(EncodeUsers(str(domain))).with_outputs(TRAIN, EVAL)
    for split in (TRAIN, EVAL):
        prefix = str(folder / f"Split-{split}" / DATA_FILE)
        sink = beam.io.WriteToTFRecord(prefix, file_name_suffix=".gz", num_shards=1)
        _ = records[split] | f"Write-{split}" >> sink
    result = pipeline.run()
    result.wait_until_finish()
    return {split: _counted(result, split) for split in (TRAIN, EVAL)}


def write_batches(pattern: str, folder: Path, options: PipelineOptions) -> list[Path]:
    """Decodes records by tfx-bsl's TFXIO and leaves the Arrow batches in ``folder``.

    Returns:
        The Arrow stream files, in no order that means anything.
    """
    tfxio = TFSequenceExampleRecord(pattern, [_COUNTS], schema=build_schema())
    with build_pipeline(options) as pipeline:
        batches = pipeline | "Decode" >> tfxio.BeamSource()
        _ = batches | "Keep" >> beam.ParDo(KeepBatches(str(folder)))
    return sorted(folder.glob("*.arrow"))


class EncodeUsers(beam.DoFn):
    """Blocks of users -> serialized records, tagged by their split.

    Args:
        folder: The prepared domain, whose sequences are mapped into memory, not read.
    """

    def __init__(self, folder: str):
        self.folder = folder
        self._domain: Domain | None = None
        self._counters = {
            (split, what): Metrics.counter(_COUNTS, f"{split}-{what}")
            for split in (TRAIN, EVAL)
            for what in ("records", "interactions")
        }

    def setup(self) -> None:
        """Opens the domain once for each worker."""
        self._domain = load_domain(Path(self.folder))

    def process(self, element: tuple[int, int]) -> Iterator[beam.pvalue.TaggedOutput[str, bytes]]:
        """Encodes the users ``begin`` to ``end - 1``, each once for each split."""
        assert self._domain is not None  # Beam calls setup first
        begin, end = element
        offsets = self._domain.sequences.offsets[begin : end + 1]
        values = self._domain.sequences.values[offsets[0] : offsets[-1]]
        items = self._domain.item_ids.to_external(np.asarray(values))
        for user, first, stop in zip(
            self._domain.user_ids[begin:end],
            (offsets[:-1] - offsets[0]).tolist(),
            (offsets[1:] - offsets[0]).tolist(),
            strict=True,
        ):
            for split, last in ((TRAIN, stop - LEAVE_OUT_TRAIN), (EVAL, stop)):
                self._counters[split, "records"].inc()
                self._counters[split, "interactions"].inc(last - first)
                yield beam.pvalue.TaggedOutput(split, encode(user, items[first:last]))
        _LOG.info("encoded the users %d to %d", begin, end - 1)


class KeepBatches(beam.DoFn):
    """Arrow record batches -> one Arrow stream file a bundle, for the pipeline's caller."""

    def __init__(self, folder: str):
        self.folder = folder
        self._writer: Any = None

    def start_bundle(self) -> None:
        """Begins without a file; a bundle may be empty."""
        self._writer = None

    def process(self, element: pa.RecordBatch) -> None:
        """Appends a batch."""
        if self._writer is None:
            file = Path(self.folder) / f"{uuid.uuid4().hex}.arrow"
            self._writer = pa.ipc.new_stream(str(file), element.schema)
        self._writer.write_batch(element)

    def finish_bundle(self) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()


def encode(user_id: str, item_ids: Sequence[str]) -> bytes:
    """One user as a serialized ``tf.train.SequenceExample``, the same bytes every time."""
    record = tf.train.SequenceExample()
    record.context.feature[USER_ID].bytes_list.value.append(user_id.encode())
    steps = record.feature_lists.feature_list[ITEM_IDS].feature
    for item in item_ids:
        steps.add().bytes_list.value.append(item.encode())
    return bytes(record.SerializeToString(deterministic=True))


def _counted(result: Any, split: str) -> dict[str, int]:
    found = result.metrics().query(MetricsFilter().with_namespace(_COUNTS))["counters"]
    by_name = {counter.key.metric.name: counter.committed for counter in found}
    return {what: int(by_name[f"{split}-{what}"]) for what in ("records", "interactions")}
