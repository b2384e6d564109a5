"""Features against those of the last run, and ``eval`` against ``train``, by the schema."""

from __future__ import annotations

from typing import Any, Final

from idp_tf.errors import DataError
from pipelines.components.example_validator.distances import (
    jensen_shannon,
    l_infinity,
    rebinned,
    with_rest,
)
from pipelines.components.example_validator.findings import (
    FeaturePath,
    Finding,
    Findings,
    Measurement,
    Seen,
    percent,
)
from pipelines.components.schema_gen.files import ENVIRONMENTS, features_of

_STANDARD: Final = 0
_LOOK: Final = "see what changed in the source; if it is meant, raise the schema's threshold"


def check_drift(findings: Findings, now: Seen, before: Seen, schema: Any, split: str) -> None:
    """Each feature's ``drift_comparator``, and the number of records."""
    _check_number(findings, now, before, schema, split)
    old, new = before.features(split), now.features(split)
    for path, feature in features_of(schema, ENVIRONMENTS[split]).items():
        if path not in old or path not in new or not feature.HasField("drift_comparator"):
            continue
        if feature.HasField("natural_language_domain"):
            continue  # its words are compared instead, see title_checks
        _compare(
            findings, split, path, feature.drift_comparator, (new[path], old[path]), kind="drift"
        )


def check_skew(findings: Findings, now: Seen, schema: Any) -> None:
    """Each feature's ``skew_comparator``: the split ``eval`` against ``train``."""
    evaluated, trained = now.features("eval"), now.features("train")
    for path, feature in features_of(schema, ENVIRONMENTS["eval"]).items():
        if path in evaluated and path in trained and feature.HasField("skew_comparator"):
            pair = (evaluated[path], trained[path])
            _compare(findings, "eval", path, feature.skew_comparator, pair, kind="skew")


def _compare(
    findings: Findings,
    split: str,
    path: FeaturePath,
    comparator: Any,
    pair: tuple[Any, Any],
    *,
    kind: Any,
) -> None:
    if comparator.HasField("normalized_abs_difference"):
        raise DataError(
            f"the {kind} comparator of {'.'.join(path)} asks for normalized_abs_difference, "
            "which is not computed",
            where="schema",
            remedy="use infinity_norm or jensen_shannon_divergence",
        )
    texts = all(found.HasField("string_stats") for found in pair)
    if comparator.HasField("infinity_norm") and texts:
        value, worst = l_infinity(*(_listed(found) for found in pair))
        what = f"shares of values (most: {worst!r})"
        threshold = comparator.infinity_norm.threshold
        measured = Measurement(split, path, what, kind, "L_INFTY", value, threshold)
        findings.measure(measured, kind, "WARNING", _LOOK)
    if comparator.HasField("jensen_shannon_divergence"):
        value = _divergence(*pair)
        threshold = comparator.jensen_shannon_divergence.threshold
        measure = "JENSEN_SHANNON_DIVERGENCE"
        measured = Measurement(split, path, "values", kind, measure, value, threshold)
        findings.measure(measured, kind, "WARNING", _LOOK)


def _check_number(findings: Findings, now: Seen, before: Seen, schema: Any, split: str) -> None:
    limits = schema.dataset_constraints.num_examples_drift_comparator
    new, old = now.splits[split].num_examples, before.splits[split].num_examples
    if not old:
        return
    share = new / old
    who = ENVIRONMENTS[split]
    if limits.min_fraction_threshold and share < limits.min_fraction_threshold:
        findings.findings.append(
            Finding(
                *("ERROR", split, (), "fewer_records", "COMPARATOR_LOW_NUM_EXAMPLES"),
                *(f"there are far fewer {who} than in the last run", f"{new} after {old}"),
                f"at least {percent(limits.min_fraction_threshold)} of them",
                "see that all files are there; if it is meant, lower min_examples_fraction",
            )
        )
    if limits.max_fraction_threshold and share > limits.max_fraction_threshold:
        findings.findings.append(
            Finding(
                *("ERROR", split, (), "more_records", "COMPARATOR_HIGH_NUM_EXAMPLES"),
                *(f"there are far more {who} than in the last run", f"{new} after {old}"),
                f"at most {percent(limits.max_fraction_threshold)} of them",
                "see that no file was read twice; if it is meant, curate the schema",
            )
        )


def _divergence(now: Any, before: Any) -> float:
    if now.WhichOneof("stats") != before.WhichOneof("stats"):
        return 1.0
    if now.HasField("num_stats"):
        pair = [_standard(found.num_stats) for found in (now, before)]
        return jensen_shannon(*rebinned(pair))
    shares = [
        with_rest(list(_counts(found).items()), found.string_stats.common_stats.tot_num_values)
        for found in (now, before)
    ]
    return jensen_shannon(*shares)


def _standard(numbers: Any) -> Any:
    return next(histogram for histogram in numbers.histograms if histogram.type == _STANDARD)


def _listed(found: Any) -> dict[str, float]:
    total = max(1, _values(found))
    return {value: count / total for value, count in _counts(found).items()}


def _counts(found: Any) -> dict[str, float]:
    buckets = found.string_stats.rank_histogram.buckets
    return {bucket.label: bucket.sample_count for bucket in buckets}


def _values(found: Any) -> int:
    """All values of a feature, those of a feature list counted in its steps."""
    common = found.string_stats.common_stats
    nested = common.presence_and_valency_stats
    return int(nested[-1].tot_num_values if nested else common.tot_num_values)
