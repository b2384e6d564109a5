"""Statistics of every feature of a split, gathered batch by batch.

Held in memory: for each feature its counts, how often each list length occurs (at most
``sqrt(2 n)`` different ones for n values in all), and sketches of a fixed size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tfx_bsl.arrow.array_util import CountInvalidUTF8
from tfx_bsl.sketches import KmvSketch, MisraGriesSketch, QuantilesSketch

from pipelines.components.statistics_gen.columns import Column, Kind, Path, columns_of

QUANTILES_ERROR: Final = 0.0001
"""The rank of a quantile of numbers is off by at most this share of their number."""
_MOST_NUMBERS: Final = 1 << 32


@dataclass
class Texts:
    """What is known of a feature's texts; the sketches are left out if it is counted exactly."""

    total_bytes: int = 0
    invalid_utf8: int = 0
    distinct: Any = None
    top: Any = None

    def add(self, values: Any, buckets: int, sketch: bool) -> None:
        """Adds texts as an Arrow array."""
        self.total_bytes += int(pc.sum(pc.binary_length(values)).as_py() or 0)
        self.invalid_utf8 += int(CountInvalidUTF8(values))
        if sketch:
            if self.distinct is None:
                self.distinct, self.top = KmvSketch(buckets), MisraGriesSketch(buckets)
            self.distinct.AddValues(values)
            self.top.AddValues(values)

    def merge(self, other: Texts) -> None:
        """Adds what another has gathered."""
        self.total_bytes += other.total_bytes
        self.invalid_utf8 += other.invalid_utf8
        if self.distinct is None:
            self.distinct, self.top = other.distinct, other.top
        elif other.distinct is not None:
            self.distinct.Merge(other.distinct)
            self.top.Merge(other.top)


@dataclass
class Numbers:
    """What is known of a feature's numbers; sums of integers are exact, however large."""

    count: int = 0
    total: float = 0
    squares: float = 0
    zeros: int = 0
    nan: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    quantiles: Any = None

    def add(self, values: Any) -> None:
        """Adds numbers as an Arrow array; what is no number is counted and left out."""
        array = values.to_numpy(zero_copy_only=False)
        if array.dtype.kind == "f":
            self.nan += int(np.isnan(array).sum())
            array = array[~np.isnan(array)]
        if not len(array):
            return
        exact = array.astype(object) if array.dtype.kind in "iu" else array.astype(np.float64)
        self.count += len(array)
        self.total += exact.sum()
        self.squares += (exact * exact).sum()
        self.zeros += int((array == 0).sum())
        self.low, self.high = min(self.low, array.min().item()), max(self.high, array.max().item())
        if self.quantiles is None:
            self.quantiles = QuantilesSketch(QUANTILES_ERROR, _MOST_NUMBERS, 1)
        self.quantiles.AddValues(pa.array(array))

    def merge(self, other: Numbers) -> None:
        """Adds what another has gathered."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.zeros += other.zeros
        self.nan += other.nan
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        if self.quantiles is None:
            self.quantiles = other.quantiles
        elif other.quantiles is not None:
            self.quantiles.Merge(other.quantiles)


@dataclass
class Feature:
    """What is known of one feature."""

    present: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    lengths: list[Counter[int]] = field(default_factory=list)
    absent_lists: list[int] = field(default_factory=list)
    texts: Texts = field(default_factory=Texts)
    numbers: Numbers = field(default_factory=Numbers)

    def add(self, column: Column, buckets: int, sketch: bool) -> None:
        """Adds a batch's column."""
        self.present += column.present
        if column.kind != "none":
            count = column.present if column.kind == "struct" else len(column.values)
            self.kinds[column.kind] += count
        self._add_lengths([_count(lengths) for lengths in column.lengths], column.absent_lists)
        if column.kind == "bytes":
            self.texts.add(column.values, buckets, sketch)
        elif column.kind in ("int", "float"):
            self.numbers.add(column.values)

    def merge(self, other: Feature) -> None:
        """Adds what another has gathered."""
        self.present += other.present
        self.kinds.update(other.kinds)
        self._add_lengths(other.lengths, other.absent_lists)
        self.texts.merge(other.texts)
        self.numbers.merge(other.numbers)

    def _add_lengths(self, lengths: Iterable[Counter[int]], absent: Iterable[int]) -> None:
        for level, (found, missing) in enumerate(zip(lengths, absent, strict=True)):
            if level == len(self.lengths):
                self.lengths.append(Counter())
                self.absent_lists.append(0)
            self.lengths[level].update(found)
            self.absent_lists[level] += missing


@dataclass
class Split:
    """What is known of one split."""

    records: int = 0
    features: dict[Path, Feature] = field(default_factory=dict)


class GatherFeatures(beam.CombineFn):
    """Record batches of a split -> ``Split``.

    Args:
        buckets: Size of the sketches of distinct and of frequent texts.
        exact: Paths of features whose texts are counted elsewhere, and not sketched here.
    """

    def __init__(self, buckets: int, exact: frozenset[Path]):
        self.buckets = buckets
        self.exact = exact

    def create_accumulator(self) -> Split:
        """Nothing yet."""
        return Split()

    def add_input(self, mutable_accumulator: Split, element: pa.RecordBatch) -> Split:
        """Adds a batch."""
        mutable_accumulator.records += element.num_rows
        for column in columns_of(element):
            feature = mutable_accumulator.features.setdefault(column.path, Feature())
            feature.add(column, self.buckets, column.path not in self.exact)
        return mutable_accumulator

    def merge_accumulators(self, accumulators: Iterable[Split]) -> Split:
        """Merges into a new one; Beam may still hold those that it gave."""
        merged = Split()
        for found in accumulators:
            merged.records += found.records
            for path, feature in found.features.items():
                merged.features.setdefault(path, Feature()).merge(feature)
        return merged

    def extract_output(self, accumulator: Split) -> Split:
        """What was gathered."""
        return accumulator


def _count(lengths: npt.NDArray[np.int64]) -> Counter[int]:
    values, counts = np.unique(lengths, return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
