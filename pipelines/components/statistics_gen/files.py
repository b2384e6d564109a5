"""Statistics as files: names, and how they are read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from idp_tf.errors import DataError, MissingDataError

SPLITS: Final = ("train", "eval", "all")
"""Users without their held-out items, whole users, and items."""
STATISTICS_FILE: Final = "FeatureStats.pb"
DOMAIN_FILE: Final = "domain.json"
KNOWN_FILE: Final = "item_ids.kmv"
"""A KMV sketch of the item ids, by which the next run tells how many of its items are new."""

_REMEDY: Final = "run StatisticsGen again"


def read_statistics(folder: Path, split: str) -> Any:
    """A split's ``DatasetFeatureStatistics``.

    Args:
        folder: The folder of an ExampleStatistics artifact.
        split: One of ``SPLITS``.

    Raises:
        MissingDataError: if the split has no statistics.
        DataError: if they are damaged.
    """
    from google.protobuf.message import DecodeError
    from tensorflow_metadata.proto.v0 import statistics_pb2

    file = folder / f"Split-{split}" / STATISTICS_FILE
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    try:
        statistics.ParseFromString(_bytes(file))
        (dataset,) = statistics.datasets
    except (DecodeError, ValueError) as error:
        raise DataError(
            f"the statistics are damaged: {error}", where=file, remedy=_REMEDY
        ) from error
    return dataset


def read_domain(folder: Path) -> dict[str, Any]:
    """The content of ``domain.json``.

    Raises:
        MissingDataError: if it is not there.
        DataError: if it is damaged.
    """
    file = folder / DOMAIN_FILE
    try:
        described: dict[str, Any] = json.loads(_bytes(file))
    except ValueError as error:
        raise DataError(f"the file is damaged: {error}", where=file, remedy=_REMEDY) from error
    return described


def read_known_items(folder: Path) -> Any:
    """The sketch of the item ids, a ``tfx_bsl.sketches.KmvSketch``; None if there are no items.

    Raises:
        MissingDataError: if it is not there.
        DataError: if it is damaged.
    """
    from tfx_bsl.sketches import KmvSketch

    file = folder / KNOWN_FILE
    raw = _bytes(file)
    try:
        return KmvSketch.Deserialize(raw) if raw else None
    except RuntimeError as error:
        raise DataError(f"the sketch is damaged: {error}", where=file, remedy=_REMEDY) from error


def _bytes(file: Path) -> bytes:
    if not file.is_file():
        raise MissingDataError("there are no statistics", where=file, remedy=_REMEDY)
    return file.read_bytes()
