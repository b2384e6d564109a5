"""A schema inferred from statistics, as TensorFlow Data Validation infers one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from idp_tf.data.examples import ITEM_IDS, SEQUENCE, TITLE
from pipelines.components.schema_gen.files import (
    DUPLICATE_SHARE,
    EMPTY_SHARE,
    ENVIRONMENTS,
    ITEMS,
    USERS,
    set_limits,
)

if TYPE_CHECKING:
    from pipelines.components.schema_gen.component import SchemaGenParameters

_STATISTICS: Final = statistics_pb2.FeatureNameStatistics
_TYPES: Final = {
    _STATISTICS.INT: schema_pb2.INT,
    _STATISTICS.FLOAT: schema_pb2.FLOAT,
    _STATISTICS.STRING: schema_pb2.BYTES,
    _STATISTICS.STRUCT: schema_pb2.STRUCT,
}


def infer_schema(statistics: Mapping[str, Any], given: SchemaGenParameters) -> Any:
    """What all splits have in common, and how far the next run may stray from it.

    Args:
        statistics: ``DatasetFeatureStatistics`` of ``eval`` (its users are those of ``train``,
            with all of their items) and of ``all``.
        given: The thresholds to write down.

    Returns:
        A ``Schema`` with the environments ``users`` and ``items``.
    """
    schema = schema_pb2.Schema()
    for split in ("eval", "all"):
        structs = {(): schema.feature}
        for found in statistics[split].features:
            path = tuple(found.path.step)
            feature = structs[path[:-1]].add(name=path[-1], type=_TYPES[found.type])
            if len(path) == 1:
                feature.in_environment.append(ENVIRONMENTS[split])
            if found.type == _STATISTICS.STRUCT:
                structs[path] = feature.struct_domain.feature
            _expect_values(feature, common_of(found))
            if found.type == _STATISTICS.INT and found.num_stats.min >= 0:
                feature.int_domain.min = 1 if found.num_stats.min >= 1 else 0
    _constrain(schema, given)
    return schema


def common_of(found: Any) -> Any:
    """A feature's ``CommonStatistics``, whatever its type."""
    return getattr(found, found.WhichOneof("stats")).common_stats


def _expect_values(feature: Any, common: Any) -> None:
    """Presence and valency: what has always held is required."""
    feature.presence.min_count = 1
    if not common.num_missing:
        feature.presence.min_fraction = 1.0
    if feature.type == schema_pb2.STRUCT:
        return
    if len(common.presence_and_valency_stats):
        for level in common.presence_and_valency_stats:
            _expect_count(feature.value_counts.value_count.add(), level)
    else:
        _expect_count(feature.value_count, common)


def _expect_count(value_count: Any, found: Any) -> None:
    """Always exactly one, or at least as many as there is any reason to expect."""
    value_count.min = min(1, found.min_num_values)
    if found.min_num_values == found.max_num_values == 1:
        value_count.max = 1


def _constrain(schema: Any, given: SchemaGenParameters) -> None:
    """What is known of users' and items' features beyond what the statistics say."""
    constraints = schema.dataset_constraints
    constraints.min_examples_count = 1
    constraints.num_examples_drift_comparator.min_fraction_threshold = given.min_examples_fraction
    for feature in schema.feature:
        if USERS in feature.in_environment and feature.name == SEQUENCE:
            for sequence in feature.struct_domain.feature:
                _compare_items(sequence, given)
        elif ITEMS in feature.in_environment and feature.name == TITLE:
            _constrain_titles(feature, given)


def _compare_items(feature: Any, given: SchemaGenParameters) -> None:
    if feature.name == ITEM_IDS:
        feature.drift_comparator.infinity_norm.threshold = given.item_drift
        feature.skew_comparator.infinity_norm.threshold = given.item_skew


def _constrain_titles(feature: Any, given: SchemaGenParameters) -> None:
    feature.natural_language_domain.SetInParent()
    feature.drift_comparator.jensen_shannon_divergence.threshold = given.title_drift
    limits = {EMPTY_SHARE: given.max_empty_share, DUPLICATE_SHARE: given.max_duplicate_share}
    set_limits(feature, limits)
