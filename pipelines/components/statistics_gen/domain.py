"""``domain.json``: what is no single feature's, in exact figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pipelines.components.statistics_gen.files import KNOWN_FILE
from pipelines.components.statistics_gen.lengths import describe, gini, share_of_most_popular
from pipelines.components.statistics_gen.parts import ITEM_IDS

if TYPE_CHECKING:
    import polars as pl

    from pipelines.components.statistics_gen.flow import Gathered

FORMAT: Final = 1

_ERROR_BOUNDS: Final = {
    "all figures of this file": "exact",
    "FeatureStats.pb: unique, top_values and rank_histogram of item_ids, item_id and title": (
        "exact"
    ),
    "FeatureStats.pb: num_values_histogram": "exact",
    "FeatureStats.pb: unique of other texts": (
        "exact up to sketch_buckets distinct values, then a standard error of "
        "1 / sqrt(sketch_buckets - 2)"
    ),
    "FeatureStats.pb: top_values of other texts": (
        "exact up to sketch_buckets distinct values, then too large by at most "
        "values / sketch_buckets; rarer values than twice that are left out"
    ),
    "FeatureStats.pb: median and histograms of numbers": (
        "ranks are off by at most 0.0001 of the values"
    ),
    KNOWN_FILE: "exact up to 65,536 item ids, then a standard error of 0.4 %",
}


def describe_domain(domain: str, gathered: Gathered) -> dict[str, Any]:
    """The content of ``domain.json``.

    Args:
        domain: The domain's name.
        gathered: What the pipeline found.
    """
    splits = {name: _split(gathered, name) for name in ("train", "eval")}
    users, items = splits["eval"]["users"], gathered.splits["all"].records
    interactions = splits["eval"]["interactions"]
    return {
        "format": FORMAT,
        "domain": domain,
        "users": users,
        "items": items,
        "interactions": interactions,
        "density": interactions / (users * items) if users and items else 0.0,
        "splits": splits,
        "popularity": _popularity(gathered.summary.counts.get("eval", Counter())),
        "ids": _ids(gathered),
        "titles": _titles(gathered),
        "error_bounds": _ERROR_BOUNDS,
    }


def _split(gathered: Gathered, name: str) -> dict[str, Any]:
    split = gathered.splits[name]
    feature = split.features.get(ITEM_IDS)
    lengths = feature.lengths[0] if feature and feature.lengths else Counter[int]()
    # A user whose list is missing has no items.
    lengths = lengths + Counter({0: split.records - lengths.total()})
    return {
        "users": split.records,
        "interactions": sum(length * count for length, count in lengths.items()),
        "sequence_length": describe(lengths),
    }


def _popularity(items_by_count: Mapping[int, int]) -> dict[str, Any]:
    """Over the items that have interactions."""
    return {
        "items_with_interactions": sum(items_by_count.values()),
        "gini": gini(items_by_count),
        "share_of_top_1_percent": share_of_most_popular(items_by_count, 0.01),
        "interactions_per_item": describe(items_by_count),
    }


def _ids(gathered: Gathered) -> dict[str, Any]:
    counts, top = gathered.summary.counts.get("ids", Counter()), gathered.summary.top
    names = ("unknown_items", "unknown_interactions", "items_without_interactions")
    return {
        **{name: counts[name] for name in (*names, "repeated_rows")},
        "unknown_examples": _texts(top.get("unknown")),
        "repeated_examples": _texts(top.get("repeated")),
    }


def _titles(gathered: Gathered) -> dict[str, Any]:
    counts, summary = gathered.titles, gathered.summary
    titles, distinct = (
        counts.get("titles", Counter()),
        summary.counts.get("distinct titles", Counter()),
    )
    filled = titles["rows"] - titles["empty"]
    rows = gathered.splits["all"].records
    empty = max(0, rows - filled)
    vocabulary = summary.counts.get("vocabulary", Counter())
    return {
        "rows": rows,
        # A row without the feature has no title either.
        "empty": empty,
        "empty_share": _share(empty, rows),
        "distinct": distinct["filled"],
        "duplicate": distinct["duplicate"],
        "duplicate_share": _share(distinct["duplicate"], filled),
        "duplicate_examples": _texts(summary.top.get("duplicates")),
        "characters": describe(counts.get("characters", Counter())),
        "words": describe(counts.get("words", Counter())),
        "non_ascii_share": _share(titles["non_ascii"], filled),
        "html_entity_share": _share(titles["html_entities"], filled),
        "scripts": _shares(counts.get("scripts", Counter())),
        "letters": _shares(counts.get("letters", Counter())),
        "languages": _shares(counts.get("languages", Counter())),
        "vocabulary": {
            "distinct": vocabulary["distinct"],
            "total": vocabulary["total"],
            "top": [[word, n] for word, n in _rows(summary.top.get("words"))],
        },
    }


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: count / total for name, count in sorted(counts.items()) if count}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _texts(top: pl.DataFrame | None) -> list[str]:
    found = (text for text, _ in _rows(top))
    return [t.decode(errors="replace") if isinstance(t, bytes) else t for t in found]


def _rows(top: pl.DataFrame | None) -> list[tuple[Any, int]]:
    return [] if top is None else list(top.select("value", "count").iter_rows())
