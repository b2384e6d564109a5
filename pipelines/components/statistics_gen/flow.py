"""The Beam pipeline of StatisticsGen: three reads, each once, and what is combined from them.

No step holds a domain's records. Between two steps pass tables of counts and sketches, never
records; the in-process runner, which keeps what passes there in memory, so keeps distinct
texts and not interactions.
"""

from __future__ import annotations

import os
import pickle
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from tfx_bsl.tfxio.tf_example_record import TFExampleRecord
from tfx_bsl.tfxio.tf_sequence_example_record import TFSequenceExampleRecord

from idp_tf.errors import DataError
from pipelines.beam_options import build_pipeline
from pipelines.components.statistics_gen.counts import SumCounts
from pipelines.components.statistics_gen.features import GatherFeatures, Split
from pipelines.components.statistics_gen.parts import (
    EXACT,
    CountItems,
    CountUsers,
    MergeSummaries,
    SummarisePart,
    Summary,
)
from pipelines.components.statistics_gen.titles import Counts, GatherTitles

USER_SPLITS: Final = ("train", "eval")
ITEM_SPLIT: Final = "all"
_TELEMETRY: Final = ["StatisticsGen"]


@dataclass(frozen=True)
class Gathered:
    """All that the pipeline found.

    Args:
        splits: Features of ``train``, ``eval`` and ``all``.
        titles: Counts over the titles.
        summary: What was counted exactly.
    """

    splits: dict[str, Split]
    titles: Counts
    summary: Summary


@dataclass(frozen=True)
class Sizes:
    """How finely work is divided, and how much is kept of it.

    Args:
        batch_records: Records in a batch.
        parts: Parts of the counted texts.
        buckets: Size of a sketch.
        num_top: Most frequent values kept.
        num_words: Most frequent words kept.
    """

    batch_records: int
    parts: int
    buckets: int
    num_top: int
    num_words: int


def gather(
    examples: Path, items: Path, folder: Path, sizes: Sizes, beam_args: Sequence[str]
) -> Gathered:
    """Runs the pipeline.

    Args:
        examples: The folder of the users' Examples.
        items: The folder of the Items.
        folder: Where the workers leave their results, a few MB.
        sizes: How work is divided.
        beam_args: Options for Beam.

    Raises:
        DataError: if records cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pipeline = build_pipeline(beam_args)
    counted = [_users(pipeline, examples, split, folder, sizes) for split in USER_SPLITS]
    counted.append(_items(pipeline, items, folder, sizes))
    _ = (
        counted
        | "All counts" >> beam.Flatten()
        | "Add up" >> beam.CombinePerKey(SumCounts())
        | "Summarise" >> beam.ParDo(SummarisePart(sizes.num_top, sizes.num_words))
        | "Merge" >> beam.CombineGlobally(MergeSummaries(sizes.num_top, sizes.num_words))
        | "Keep summary" >> beam.ParDo(Keep(str(folder / "summary")))
    )
    try:
        pipeline.run().wait_until_finish()
    except (OSError, ValueError, RuntimeError, zlib.error) as error:
        raise DataError(
            f"the records cannot be read: {error}",
            where=f"{examples} and {items}",
            remedy="run ExampleGen again, if a file is damaged",
        ) from error
    splits = {split: _kept(folder / split) for split in (*USER_SPLITS, ITEM_SPLIT)}
    return Gathered(splits, _kept(folder / "titles"), _kept(folder / "summary"))


class Keep(beam.DoFn):
    """The only element -> a file, which appears whole."""

    def __init__(self, file: str):
        self.file = file

    def process(self, element: Any) -> None:
        """Writes it; a bundle that is run again writes the same."""
        fresh = f"{self.file}.{uuid.uuid4().hex}.tmp"
        Path(fresh).write_bytes(pickle.dumps(element))
        os.replace(fresh, self.file)


def _users(pipeline: Any, examples: Path, split: str, folder: Path, sizes: Sizes) -> Any:
    tfxio = TFSequenceExampleRecord(_pattern(examples, split), _TELEMETRY)
    batches = pipeline | f"Read {split}" >> tfxio.BeamSource(sizes.batch_records)
    _features(batches, split, folder, sizes)
    return _summed(batches | f"Count {split}" >> beam.ParDo(CountUsers(split, sizes.parts)), split)


def _items(pipeline: Any, items: Path, folder: Path, sizes: Sizes) -> Any:
    tfxio = TFExampleRecord(_pattern(items, ITEM_SPLIT), _TELEMETRY)
    batches = pipeline | "Read items" >> tfxio.BeamSource(sizes.batch_records)
    _features(batches, ITEM_SPLIT, folder, sizes)
    titles = batches | "Titles" >> beam.CombineGlobally(GatherTitles())
    _ = titles | "Keep titles" >> beam.ParDo(Keep(str(folder / "titles")))
    return _summed(batches | "Count items" >> beam.ParDo(CountItems(sizes.parts)), ITEM_SPLIT)


def _summed(counted: Any, split: str) -> Any:
    """Sums where the records are read: behind a Flatten, runners let every batch's table pass."""
    return counted | f"Sum {split}" >> beam.CombinePerKey(SumCounts())


def _features(batches: Any, split: str, folder: Path, sizes: Sizes) -> None:
    gathered = batches | f"Features {split}" >> beam.CombineGlobally(
        GatherFeatures(sizes.buckets, EXACT)
    )
    _ = gathered | f"Keep {split}" >> beam.ParDo(Keep(str(folder / split)))


def _pattern(folder: Path, split: str) -> str:
    return str(folder / f"Split-{split}" / "data_tfrecord-*")


def _kept(file: Path) -> Any:
    return pickle.loads(file.read_bytes())
