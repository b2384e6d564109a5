"""The Evaluator's two Beam pipelines: training counts of items, then ranks and their sums.

They meet in files, not in a side input: a runner would otherwise hold all that was read until
the counts are there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from idp_tf.errors import requires_extra
from pipelines.beam_options import build_pipeline
from pipelines.beam_results import read_counters
from pipelines.components.evaluator.records import source
from pipelines.components.evaluator.steps import (
    NAMESPACE,
    CountItems,
    ItemsOfBatch,
    RankUsers,
    SumMetrics,
    WriteWhole,
    json_bytes,
    npy_bytes,
    sums_json,
)
from pipelines.components.evaluator.sums import MetricSums
from pipelines.components.evaluator.worker import Key, RankingJob, read_catalogue

with requires_extra("pipelines", purpose="the component Evaluator"):
    import apache_beam as beam

__all__ = ["RankingJob", "count_training", "rank_users", "read_sums"]


def count_training(pattern: str, catalogue: str, file: Path, beam_args: Sequence[str]) -> None:
    """Writes how often each item stands in a split, (num_items + 1,) int64, as ``.npy``.

    A worker holds one Arrow batch and one such array.

    Args:
        pattern: The split's files.
        catalogue: A file of the items' ids, a JSON list.
        file: Where the counts go.
        beam_args: Beam's options.
    """
    with build_pipeline(beam_args) as pipeline:
        _ = (
            pipeline
            | "ReadTrain" >> source(pattern)
            | "Items" >> beam.ParDo(ItemsOfBatch(catalogue))
            | "Count" >> beam.CombineGlobally(CountItems(len(read_catalogue(catalogue))))
            | "Npy" >> beam.Map(npy_bytes)
            | "WriteCounts" >> beam.ParDo(WriteWhole(str(file)))
        )


def rank_users(job: RankingJob, file: Path, beam_args: Sequence[str]) -> dict[str, int]:
    """Ranks all users and writes the sums of each slice as JSON.

    A worker process holds the models, each with two tables of item vectors a scope, one Arrow
    batch, ``block`` users' scores of all items, and a few hundred sums. What passes between
    stages is one small matrix a block and slice, at most the ranks of its users.

    Args:
        job: What is to be done.
        file: Where the sums go.
        beam_args: Beam's options.

    Returns:
        Counters: ``rows read`` and ``interactions``.
    """
    pipeline = build_pipeline(beam_args)
    _ = (
        pipeline
        | "ReadEval" >> source(job.examples)
        | "Rank" >> beam.ParDo(RankUsers(job))
        | "Sum" >> beam.CombinePerKey(SumMetrics())
        | "Json" >> beam.Map(sums_json)
        | "Gather" >> beam.combiners.ToList()
        | "Text" >> beam.Map(json_bytes)
        | "WriteSums" >> beam.ParDo(WriteWhole(str(file)))
    )
    result = pipeline.run()
    result.wait_until_finish()
    return read_counters(result, NAMESPACE)


def read_sums(file: Path) -> dict[Key, MetricSums]:
    """What ``rank_users`` wrote."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    return {tuple(key): MetricSums.from_json(content) for key, content in rows}
