"""The Beam pipeline of BulkInferrer.

Between two steps pass the items' ids, titles and digests, by shards; vectors go from the
encoder into their shard's file at once. The in-process runner so holds a catalogue's titles,
and one shard's vectors.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from tfx_bsl.tfxio.tf_example_record import TFExampleRecord

from idp_tf.errors import DataError
from pipelines.beam_options import build_pipeline
from pipelines.components.bulk_inferrer.shards import (
    READY,
    EncodeBatches,
    PlanShards,
    ShardItems,
    WriteShards,
)

_BATCH_RECORDS = 4096


def infer(
    items: Path,
    model: Path,
    signature: str,
    plan: PlanShards,
    width: int,
    beam_args: Sequence[str],
) -> None:
    """Runs the pipeline; finished shards lie in the plan's folder.

    Args:
        items: The folder of the Items.
        model: The SavedModel.
        signature: Its signature.
        plan: How shards are planned.
        width: The length of a vector.
        beam_args: Options for Beam.

    Raises:
        DataError: if items cannot be read, or the encoder fails.
    """
    tfxio = TFExampleRecord(str(items / "Split-all" / "data_tfrecord-*"), ["BulkInferrer"])
    pipeline = build_pipeline(beam_args)
    planned = (
        pipeline
        | "Read items" >> tfxio.BeamSource(_BATCH_RECORDS)
        | "Shard" >> beam.ParDo(ShardItems(plan.num_shards))
        | "Group" >> beam.GroupByKey()
        # Shards are few and heavy: they may go to other workers than their titles came from.
        | "Spread" >> beam.Reshuffle()
        | "Plan" >> beam.ParDo(plan).with_outputs(READY, main="fresh")
    )
    handler = KeyedModelHandler(EncodeBatches(str(model), signature))
    encoded = planned.fresh | "Encode" >> RunInference(handler)
    for name, source in (("encoded", encoded), ("ready", planned[READY])):
        _ = source | f"Write {name}" >> beam.ParDo(WriteShards(plan.folder, plan.num_shards, width))
    try:
        pipeline.run().wait_until_finish()
    except (OSError, ValueError, RuntimeError, zlib.error) as error:
        raise DataError(
            f"the items could not be encoded: {error}",
            where=items,
            remedy="see the cause above; finished shards are kept for the next run",
        ) from error
