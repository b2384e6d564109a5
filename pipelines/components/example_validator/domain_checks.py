"""What is no single feature's: ids that do not fit together, titles, and how both have moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from idp_tf.data.examples import ITEM_IDS, SEQUENCE, TITLE
from idp_tf.data.readers.raw import UNKNOWN_ITEMS
from pipelines.components.example_validator.distances import (
    by_magnitude,
    jensen_shannon,
    with_rest,
)
from pipelines.components.example_validator.findings import (
    Finding,
    Findings,
    Measurement,
    Seen,
    Severity,
    percent,
)
from pipelines.components.schema_gen.files import (
    DUPLICATE_SHARE,
    EMPTY_SHARE,
    ITEMS,
    features_of,
    limits_of,
)

if TYPE_CHECKING:
    from pipelines.components.example_validator.component import ExampleValidatorParameters

_TITLE: Final = (TITLE,)
_ITEM_IDS: Final = (SEQUENCE, ITEM_IDS)
_CUSTOM: Final = "CUSTOM_VALIDATION"


def check_reading(
    manifest: Mapping[str, Any], given: ExampleValidatorParameters
) -> Iterator[Finding]:
    """Interactions that ExampleGen dropped since their items have no row."""
    dropped = manifest["dropped_by_reading"].get(UNKNOWN_ITEMS, 0)
    share = dropped / max(1, dropped + manifest["before"]["interactions"])
    if share > given.max_dropped_share:
        yield Finding(
            *("ERROR", "eval", _ITEM_IDS, "dropped_interactions", _CUSTOM),
            "interactions were dropped, as their items have no row among the items",
            f"{dropped} ({percent(share)})",
            f"at most {percent(given.max_dropped_share)}",
            "see that the title file is whole, and of one day with the logs",
        )


def check_ids(now: Seen, given: ExampleValidatorParameters) -> Iterator[Finding]:
    """Item ids of logs and of items against each other."""
    ids, total = now.domain["ids"], now.domain["popularity"]["items_with_interactions"]
    share = ids["unknown_items"] / max(1, total)
    if share > given.max_unknown_items_share:
        examples = ", ".join(map(repr, ids["unknown_examples"][:3]))
        yield Finding(
            *("ERROR", "eval", _ITEM_IDS, "unknown_items", _CUSTOM),
            "items of the logs have no row among the items",
            f"{ids['unknown_items']} ({percent(share)}) in {ids['unknown_interactions']} "
            f"interactions, such as {examples}",
            f"at most {percent(given.max_unknown_items_share)}",
            "see that logs and items are of one domain and one day",
        )
    if ids["repeated_rows"]:
        examples = ", ".join(map(repr, ids["repeated_examples"][:3]))
        yield Finding(
            *("ERROR", "all", ("item_id",), "repeated_items", _CUSTOM),
            "items have more than one row",
            f"{ids['repeated_rows']} rows too many, such as of {examples}",
            *("one row each", "keep one row of each item"),
        )


def check_titles(now: Seen, schema: Any, given: ExampleValidatorParameters) -> Iterator[Finding]:
    """Empty and duplicate titles by the schema's limits, and what is left of HTML."""
    feature, titles = features_of(schema, ITEMS).get(_TITLE), now.domain["titles"]
    limits = {} if feature is None else limits_of(feature)
    empty, duplicate = titles["empty_share"], titles["duplicate_share"]
    if empty > min(limits.get(EMPTY_SHARE, 1.0), given.error_empty_share):
        severity: Severity = "ERROR" if empty > given.error_empty_share else "WARNING"
        limit = limits.get(EMPTY_SHARE, given.error_empty_share)
        yield Finding(
            *(severity, "all", _TITLE, "empty_titles", _CUSTOM, "titles are empty"),
            f"{titles['empty']} of {titles['rows']} ({percent(empty)})",
            f"at most {percent(limit)}",
            "see that the title file is of this domain, and that its columns are named right",
        )
    if duplicate > limits.get(DUPLICATE_SHARE, 1.0):
        examples = ", ".join(map(repr, titles["duplicate_examples"][:3]))
        yield Finding(
            *("WARNING", "all", _TITLE, "duplicate_titles", _CUSTOM),
            "items share their title with another item",
            f"{titles['duplicate']} ({percent(duplicate)}), such as {examples}",
            f"at most {percent(limits[DUPLICATE_SHARE])}",
            "items that titles do not tell apart are matched alike; see if they are one item",
        )
    if titles["html_entity_share"] > given.max_html_entity_share:
        yield Finding(
            *("WARNING", "all", _TITLE, "html_entities", _CUSTOM),
            *("titles hold HTML entities", percent(titles["html_entity_share"])),
            f"at most {percent(given.max_html_entity_share)}",
            "the source escapes them twice; unescape them before ExampleGen, which does it once",
        )


def check_moves(now: Seen, before: Seen, given: ExampleValidatorParameters) -> Iterator[Finding]:
    """Interactions and items against those of the last run."""
    new, old = now.domain["interactions"], before.domain["interactions"]
    if old and new / old < given.min_interactions_fraction:
        yield Finding(
            *("ERROR", "eval", _ITEM_IDS, "fewer_interactions", _CUSTOM),
            *("there are far fewer interactions than in the last run", f"{new} after {old}"),
            f"at least {percent(given.min_interactions_fraction)} of them",
            "see that all log files are there",
        )
    if now.known is None or before.known is None:
        return
    both = _union(now, before)
    added = max(0, both - before.known.Estimate()) / max(1, now.known.Estimate())
    gone = max(0, both - now.known.Estimate()) / max(1, before.known.Estimate())
    if added > given.max_new_items_share:
        yield Finding(
            *("WARNING", "all", ("item_id",), "new_items", _CUSTOM),
            *("items were not there in the last run", percent(added)),
            f"at most {percent(given.max_new_items_share)}",
            "see that ids have kept their form, and that the file is of this domain",
        )
    if gone > given.max_gone_items_share:
        yield Finding(
            *("WARNING", "all", ("item_id",), "gone_items", _CUSTOM),
            *("items of the last run are gone", percent(gone)),
            f"at most {percent(given.max_gone_items_share)}",
            "see that the title file is whole",
        )


def measure_moves(
    findings: Findings, now: Seen, before: Seen, schema: Any, given: ExampleValidatorParameters
) -> None:
    """How far titles and histories have moved since the last run."""
    _measure_words(findings, now, before, schema, given)
    new, old = now.domain["titles"], before.domain["titles"]
    for what, key, threshold in (
        ("languages of titles", "languages", given.max_language_drift),
        ("scripts of titles", "letters", given.max_script_drift),
    ):
        value = jensen_shannon(new[key], old[key])
        _measure(findings, "all", _TITLE, what, value, threshold, "title_language_drift")
    for key in ("characters", "words"):
        value = _length_divergence(new[key], old[key])
        what = f"title lengths in {key}"
        _measure(findings, "all", _TITLE, what, value, given.max_length_drift, "title_length_drift")
    pair = (seen.domain["splits"]["eval"]["sequence_length"] for seen in (now, before))
    value = _length_divergence(*pair)
    what = "lengths of histories"
    _measure(findings, "eval", _ITEM_IDS, what, value, given.max_length_drift, "length_drift")


def _measure_words(
    findings: Findings, now: Seen, before: Seen, schema: Any, given: ExampleValidatorParameters
) -> None:
    feature = features_of(schema, ITEMS).get(_TITLE)
    value = jensen_shannon(*(_words(seen) for seen in (now, before)))
    limit = given.other_domain_drift
    if feature is not None and feature.drift_comparator.HasField("jensen_shannon_divergence"):
        limit = min(limit, feature.drift_comparator.jensen_shannon_divergence.threshold)
    foreign = value > given.other_domain_drift
    findings.measure(
        Measurement(
            *("all", _TITLE, "words of titles", "drift", "JENSEN_SHANNON_DIVERGENCE"),
            *(value, given.other_domain_drift if foreign else limit),
        ),
        "other_domain" if foreign else "title_drift",
        "ERROR" if foreign else "WARNING",
        "this looks like the title file of another domain; see that the right one is read"
        if foreign
        else "see what the new titles are",
    )


def _measure(
    findings: Findings,
    split: str,
    path: tuple[str, ...],
    what: str,
    value: float,
    threshold: float,
    check: str,
) -> None:
    measure = "JENSEN_SHANNON_DIVERGENCE"
    measured = Measurement(split, path, what, "drift", measure, value, threshold)
    findings.measure(measured, check, "WARNING", "see what changed in the source")


def _words(seen: Seen) -> dict[str, float]:
    vocabulary = seen.domain["titles"]["vocabulary"]
    return with_rest([(word, count) for word, count in vocabulary["top"]], vocabulary["total"])


def _length_divergence(now: Mapping[str, Any], before: Mapping[str, Any]) -> float:
    return jensen_shannon(*(by_magnitude(kept["distribution"]) for kept in (now, before)))


def _union(now: Seen, before: Seen) -> int:
    """How many items either run has, by their sketches."""
    from tfx_bsl.sketches import KmvSketch

    merged = KmvSketch.Deserialize(now.known.Serialize())
    merged.Merge(before.known)
    return int(merged.Estimate())
