"""tensorflow_metadata's statistics, filled in as TensorFlow Data Validation fills them in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import polars as pl
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipelines.components.statistics_gen.columns import Kind, Path
from pipelines.components.statistics_gen.counts import VALUE
from pipelines.components.statistics_gen.features import Feature, Numbers, Split, Texts
from pipelines.components.statistics_gen.lengths import quantiles
from pipelines.components.statistics_gen.parts import EXACT

BUCKETS: Final = 10
TOP_VALUES: Final = 20
SLICE: Final = "All Examples"
_NUMBER_OF_TYPE: Final = "values of type "
_TYPES: Final[Mapping[Kind, Any]] = {
    "bytes": statistics_pb2.FeatureNameStatistics.STRING,
    "int": statistics_pb2.FeatureNameStatistics.INT,
    "float": statistics_pb2.FeatureNameStatistics.FLOAT,
    "struct": statistics_pb2.FeatureNameStatistics.STRUCT,
    "none": statistics_pb2.FeatureNameStatistics.STRING,
}


class Exact:
    """What is known exactly of a feature's texts.

    Args:
        distinct: How many different ones there are.
        top: The most frequent ones, columns ``value`` and ``count``, best first.
    """

    def __init__(self, distinct: int, top: pl.DataFrame):
        self.distinct = distinct
        self.top = [(_text(value), count) for value, count in top.select(VALUE, "count").rows()]


def build_statistics(split: Split, exact: Mapping[Path, Exact], buckets: int) -> Any:
    """The statistics of one split.

    Args:
        split: What was gathered of it.
        exact: What is known exactly, by the features' paths.
        buckets: Size of the sketches.

    Returns:
        A ``DatasetFeatureStatisticsList`` with one dataset, its features by their paths.
    """
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = statistics.datasets.add(name=SLICE, num_examples=split.records)
    for path in sorted(split.features):
        feature = split.features[path]
        # A list of another type in a few records shows as a custom statistic.
        kind = _main_kind(feature)
        filled = dataset.features.add(type=_TYPES[kind])
        filled.path.step.extend(path)
        _fill_feature(filled, feature, kind, split.records, exact.get(path), buckets)
    return statistics


def exact_part(statistics: Any) -> Any:
    """The statistics without what comes from a sketch and depends on how work was divided."""
    kept = statistics_pb2.DatasetFeatureStatisticsList.FromString(statistics.SerializeToString())
    for dataset in kept.datasets:
        for feature in dataset.features:
            if feature.HasField("num_stats"):
                feature.num_stats.ClearField("median")
                feature.num_stats.ClearField("histograms")
                if feature.type == statistics_pb2.FeatureNameStatistics.FLOAT:
                    feature.num_stats.ClearField("mean")  # a sum's last bits follow its order
                    feature.num_stats.ClearField("std_dev")
            elif feature.HasField("string_stats") and tuple(feature.path.step) not in EXACT:
                feature.string_stats.ClearField("top_values")
                feature.string_stats.ClearField("rank_histogram")
    return kept


def _main_kind(feature: Feature) -> Kind:
    found: list[Kind] = sorted(feature.kinds)
    return max(found, key=lambda kind: feature.kinds[kind], default="none")


def _fill_feature(
    filled: Any, feature: Feature, kind: Kind, records: int, exact: Exact | None, buckets: int
) -> None:
    if kind in ("bytes", "none"):
        common = filled.string_stats.common_stats
        values = feature.kinds["bytes"]
        _fill_texts(filled.string_stats, feature.texts, values, exact, buckets)
    elif kind == "struct":
        common = filled.struct_stats.common_stats
    else:
        common = filled.num_stats.common_stats
        _fill_numbers(filled.num_stats, feature.numbers, whole=kind == "int")
    _fill_common(common, feature, records)
    if len(feature.kinds) > 1:
        for other, count in sorted(feature.kinds.items()):
            filled.custom_stats.add(name=_NUMBER_OF_TYPE + other, num=count)


def _fill_common(common: Any, feature: Feature, records: int) -> None:
    common.num_non_missing = feature.present
    common.num_missing = records - feature.present
    if not feature.lengths or not feature.present:
        return
    outer = feature.lengths[0]
    common.min_num_values, common.max_num_values = min(outer), max(outer)
    common.tot_num_values = _total(outer)
    common.avg_num_values = _total(outer) / feature.present
    histogram = common.num_values_histogram
    histogram.type = statistics_pb2.Histogram.QUANTILES
    _fill_buckets(histogram, quantiles(outer, np.linspace(0, 1, BUCKETS + 1).tolist()), outer)
    if len(feature.lengths) > 1:
        absent = [records - feature.present, *feature.absent_lists[1:]]
        for lengths, missing in zip(feature.lengths, absent, strict=True):
            common.presence_and_valency_stats.add(
                num_non_missing=lengths.total(),
                num_missing=missing,
                min_num_values=min(lengths, default=0),
                max_num_values=max(lengths, default=0),
                tot_num_values=_total(lengths),
            )


def _fill_texts(filled: Any, texts: Texts, values: int, exact: Exact | None, buckets: int) -> None:
    filled.avg_length = texts.total_bytes / values if values else 0.0
    filled.invalid_utf8_count = texts.invalid_utf8
    if exact is not None:
        filled.unique, top = exact.distinct, exact.top
    elif texts.distinct is not None:
        filled.unique = texts.distinct.Estimate()
        top = _sketched_top(texts, values, buckets)
    else:
        top = []
    for value, count in top[:TOP_VALUES]:
        filled.top_values.add(value=value, frequency=count)
    for rank, (value, count) in enumerate(top):
        filled.rank_histogram.buckets.add(
            low_rank=rank, high_rank=rank, label=value, sample_count=count
        )


def _sketched_top(texts: Texts, values: int, buckets: int) -> list[tuple[str, float]]:
    """Frequent texts by the sketch; those whose count may be nothing but its error are left out."""
    rows = texts.top.Estimate().to_pylist()
    found = [(_text(row["values"]), row["counts"]) for row in rows]
    if texts.distinct.Estimate() > buckets:
        found = [(value, count) for value, count in found if count > 2 * values / buckets]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def _fill_numbers(filled: Any, numbers: Numbers, *, whole: bool) -> None:
    if not numbers.count:
        return
    mean = numbers.total / numbers.count
    # Of whole numbers all sums are exact, so nothing cancels out that should not.
    spread = numbers.squares * numbers.count - numbers.total * numbers.total
    filled.mean, filled.num_zeros = float(mean), numbers.zeros
    filled.std_dev = math.sqrt(max(0, spread)) / numbers.count
    filled.min, filled.max = float(numbers.low), float(numbers.high)
    borders = _borders(numbers, BUCKETS)
    filled.median = _borders(numbers, 2)[1]
    by_rank = filled.histograms.add(type=statistics_pb2.Histogram.QUANTILES, num_nan=numbers.nan)
    for low, high in pairwise(borders):
        by_rank.buckets.add(low_value=low, high_value=high, sample_count=numbers.count / BUCKETS)
    _fill_standard(filled.histograms.add(num_nan=numbers.nan), numbers)


def _fill_standard(histogram: Any, numbers: Numbers) -> None:
    """Buckets of equal width, from the sketch's finest quantiles."""
    fine = np.array(_borders(numbers, 1000))
    edges = np.linspace(numbers.low, numbers.high, BUCKETS + 1)
    below = np.interp(edges, fine, np.linspace(0, numbers.count, len(fine)))
    below[0], below[-1] = 0, numbers.count
    for low, high, first, last in zip(edges, edges[1:], below, below[1:], strict=False):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=last - first)


def _borders(numbers: Numbers, number: int) -> list[float]:
    """The borders of so many buckets that hold as many values each."""
    found = numbers.quantiles.GetQuantiles(number)
    return list(found.to_pylist()[0])


def _fill_buckets(histogram: Any, borders: list[int], counts: Counter[int]) -> None:
    share = counts.total() / (len(borders) - 1)
    for low, high in pairwise(borders):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=share)


def _total(counts: Counter[int]) -> int:
    return sum(value * count for value, count in counts.items())


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")
