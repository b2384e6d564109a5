"""A split's features against the schema: presence, types, valency, domains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from pipelines.components.example_validator.findings import FeaturePath, Finding, Seen, percent
from pipelines.components.schema_gen.files import ENVIRONMENTS, features_of
from pipelines.components.schema_gen.infer import common_of

_STATISTICS: Final = statistics_pb2.FeatureNameStatistics
_TYPES: Final = {
    _STATISTICS.INT: schema_pb2.INT,
    _STATISTICS.FLOAT: schema_pb2.FLOAT,
    _STATISTICS.STRING: schema_pb2.BYTES,
    _STATISTICS.BYTES: schema_pb2.BYTES,
    _STATISTICS.STRUCT: schema_pb2.STRUCT,
}
_NOT_CHECKED: Final = frozenset(
    schema_pb2.LifecycleStage.Value(name)
    for name in ("PLANNED", "ALPHA", "DEBUG_ONLY", "DEPRECATED", "DISABLED")
)
_SOURCE: Final = "see what wrote these records, or curate the schema"


def check_schema(seen: Seen, schema: Any, split: str) -> Iterator[Finding]:
    """All that breaks the schema in one split."""
    expected, found = features_of(schema, ENVIRONMENTS[split]), seen.features(split)
    yield from _check_size(seen, schema, split)
    for path, feature in expected.items():
        if feature.deprecated or feature.lifecycle_stage in _NOT_CHECKED:
            continue
        if path in found and common_of(found[path]).num_non_missing:
            yield from _check_feature(split, path, feature, found[path])
        elif _is_required(feature) and path[:-1] not in _missing(expected, found):
            yield Finding(
                *("ERROR", split, path, "missing_feature", "SCHEMA_MISSING_COLUMN"),
                *("the feature is missing", "in no record", "in every record", _SOURCE),
            )
    for path in sorted(set(found) - set(expected)):
        yield Finding(
            *("WARNING", split, path, "unexpected_feature", "SCHEMA_NEW_COLUMN"),
            *("the feature is not in the schema", "in some records", "in none"),
            "add it to the schema, or leave it out of the records; nothing reads it",
        )


def _check_size(seen: Seen, schema: Any, split: str) -> Iterator[Finding]:
    number, limits = seen.splits[split].num_examples, schema.dataset_constraints
    if number < limits.min_examples_count:
        yield Finding(
            *("ERROR", split, (), "too_few_records", "DATASET_LOW_NUM_EXAMPLES"),
            *("there are too few records", f"{number}", f"at least {limits.min_examples_count}"),
            "see that all files were read",
        )
    if limits.max_examples_count and number > limits.max_examples_count:
        yield Finding(
            *("ERROR", split, (), "too_many_records", "DATASET_HIGH_NUM_EXAMPLES"),
            *("there are too many records", f"{number}", f"at most {limits.max_examples_count}"),
            "see that no file was read twice",
        )


def _check_feature(split: str, path: FeaturePath, feature: Any, found: Any) -> Iterator[Finding]:
    if _TYPES[found.type] != feature.type:
        yield Finding(
            *("ERROR", split, path, "type", "UNEXPECTED_DATA_TYPE", "the type is another"),
            _STATISTICS.Type.Name(found.type),
            *(schema_pb2.FeatureType.Name(feature.type), _SOURCE),
        )
        return
    mixed = [kept for kept in found.custom_stats if kept.name.startswith("values of type ")]
    if mixed:
        kinds = ", ".join(f"{kept.num:.0f} {kept.name}" for kept in mixed)
        yield Finding(
            *("ERROR", split, path, "type", "UNEXPECTED_DATA_TYPE", "the types are mixed", kinds),
            *(f"only {schema_pb2.FeatureType.Name(feature.type)}", _SOURCE),
        )
    yield from _check_presence(split, path, feature, common_of(found))
    yield from _check_valency(split, path, feature, common_of(found))
    yield from _check_numbers(split, path, feature, found)
    yield from _check_texts(split, path, feature, found)


def _check_presence(split: str, path: FeaturePath, feature: Any, common: Any) -> Iterator[Finding]:
    number, missing = common.num_non_missing, common.num_missing
    share, least = number / (number + missing), feature.presence.min_fraction
    if share < least:
        yield Finding(
            *("ERROR", split, path, "presence", "FEATURE_TYPE_LOW_FRACTION_PRESENT"),
            *("the feature is missing in some records", f"missing in {missing} of"),
            *(f"at least {percent(least)} with it", _SOURCE),
        )
    if number < feature.presence.min_count:
        yield Finding(
            *("ERROR", split, path, "presence", "FEATURE_TYPE_LOW_NUMBER_PRESENT"),
            *("the feature is in too few records", f"{number}"),
            *(f"at least {feature.presence.min_count}", _SOURCE),
        )


def _check_valency(split: str, path: FeaturePath, feature: Any, common: Any) -> Iterator[Finding]:
    for level, (low, high) in enumerate(_valency(feature)):
        nested = common.presence_and_valency_stats
        if level and level >= len(nested):
            continue
        found = nested[level] if nested else common
        what = "values in a record" if level == len(nested) - 1 or not nested else "steps"
        if nested and level:
            what = "values in a step"
        if found.min_num_values < low:
            yield Finding(
                *("ERROR", split, path, "valency", "FEATURE_TYPE_LOW_NUMBER_VALUES"),
                *(f"there are too few {what}", f"{found.min_num_values}", f"at least {low}"),
                _SOURCE,
            )
        if high and found.max_num_values > high:
            yield Finding(
                *("ERROR", split, path, "valency", "FEATURE_TYPE_HIGH_NUMBER_VALUES"),
                *(f"there are too many {what}", f"{found.max_num_values}", f"at most {high}"),
                _SOURCE,
            )
        if level and found.num_missing:
            yield Finding(
                *("ERROR", split, path, "valency", "FEATURE_TYPE_LOW_NUMBER_VALUES"),
                *("steps have no list of values", f"{found.num_missing}", "none", _SOURCE),
            )


def _valency(feature: Any) -> list[tuple[int, int]]:
    """Least and most values at each level; most is 0 if there is no limit."""
    if feature.HasField("shape"):
        number = 1
        for dim in feature.shape.dim:
            number *= dim.size
        return [(number, number)]
    if feature.HasField("value_counts"):
        return [(level.min, level.max) for level in feature.value_counts.value_count]
    if feature.HasField("value_count"):
        return [(feature.value_count.min, feature.value_count.max)]
    return []


def _check_numbers(split: str, path: FeaturePath, feature: Any, found: Any) -> Iterator[Finding]:
    kind = feature.WhichOneof("domain_info")
    if kind not in ("int_domain", "float_domain") or not found.HasField("num_stats"):
        return
    domain, name = getattr(feature, kind), "INT" if kind == "int_domain" else "FLOAT"
    if domain.HasField("min") and found.num_stats.min < domain.min:
        yield Finding(
            *("ERROR", split, path, "domain", f"{name}_TYPE_SMALL_{name}", "a value is too small"),
            *(f"{found.num_stats.min:g}", f"at least {domain.min:g}", _SOURCE),
        )
    if domain.HasField("max") and found.num_stats.max > domain.max:
        yield Finding(
            *("ERROR", split, path, "domain", f"{name}_TYPE_BIG_{name}", "a value is too large"),
            *(f"{found.num_stats.max:g}", f"at most {domain.max:g}", _SOURCE),
        )


def _check_texts(split: str, path: FeaturePath, feature: Any, found: Any) -> Iterator[Finding]:
    if not found.HasField("string_stats"):
        return
    texts, limits = found.string_stats, feature.unique_constraints
    if texts.invalid_utf8_count:
        yield Finding(
            *("WARNING", split, path, "utf8", "ENUM_TYPE_INVALID_UTF8", "values are no UTF-8"),
            *(f"{texts.invalid_utf8_count}", "none", "see in which encoding the source is"),
        )
    if feature.HasField("unique_constraints") and texts.unique < limits.min:
        yield Finding(
            *("ERROR", split, path, "distinct", "FEATURE_TYPE_LOW_UNIQUE"),
            *("there are too few distinct values", f"{texts.unique}", f"at least {limits.min}"),
            _SOURCE,
        )
    if limits.max and texts.unique > limits.max:
        yield Finding(
            *("ERROR", split, path, "distinct", "FEATURE_TYPE_HIGH_UNIQUE"),
            *("there are too many distinct values", f"{texts.unique}", f"at most {limits.max}"),
            _SOURCE,
        )
    if feature.HasField("string_domain") and len(feature.string_domain.value):
        yield from _check_values(split, path, feature, texts)


def _check_values(split: str, path: FeaturePath, feature: Any, texts: Any) -> Iterator[Finding]:
    """Of the most frequent values, which are all that statistics keep."""
    allowed = set(feature.string_domain.value)
    counts = {bucket.label: bucket.sample_count for bucket in texts.rank_histogram.buckets}
    strange = {value: count for value, count in counts.items() if value not in allowed}
    share = sum(strange.values()) / max(1, texts.common_stats.tot_num_values)
    constrained = feature.HasField("distribution_constraints")
    least = feature.distribution_constraints.min_domain_mass if constrained else 1.0
    if strange and 1 - share < least:
        yield Finding(
            *("ERROR", split, path, "domain", "ENUM_TYPE_UNEXPECTED_STRING_VALUES"),
            *("values are not in the domain", f"{percent(share)}, such as {min(strange)!r}"),
            *(f"at most {percent(1 - least)}", "add them to the schema, or see what wrote them"),
        )


def _is_required(feature: Any) -> bool:
    return bool(feature.presence.min_count or feature.presence.min_fraction)


def _missing(
    expected: Mapping[FeaturePath, Any], found: Mapping[FeaturePath, Any]
) -> set[FeaturePath]:
    """What is missing takes along what is in it, and that need not be said."""
    return {path for path in expected if path not in found}
