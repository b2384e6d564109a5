"""What the report page says of the matcher's tuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def matcher_view(matcher: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Recalls as text and as bar widths, and what they are of; None where there is no matcher.

    Args:
        matcher: What report.json holds of it; every key may be missing.
    """
    if not matcher:
        return None
    recalls = [
        {"name": name, "text": f"{value:.3f}", "share": round(100 * value, 1)}
        for name, key in (("before tuning", "recall_untuned"), ("after tuning", "recall_tuned"))
        if (value := matcher.get(key)) is not None
    ]
    return {
        "about": [*_judged(matcher, bool(recalls)), *_scope(matcher)],
        "recalls": recalls,
        "examples": list(matcher.get("examples") or []),
    }


def _judged(matcher: Mapping[str, Any], has_recalls: bool) -> Iterator[str]:
    """What was judged by, or that there was nothing to judge by."""
    items = matcher.get("held_out_items")
    if has_recalls:
        yield (
            "Of the items that behave like a held-out item, the share that its title finds "
            f"(neighbour recall@{matcher.get('recall_at') or 10}, on "
            f"{f'{items:,} ' if items else ''}source items that tuning never saw)."
        )
    elif "recall_tuned" in matcher:
        yield "No held-out item has behaviour neighbours, so there is nothing to judge tuning by."


def _scope(matcher: Mapping[str, Any]) -> Iterator[str]:
    """Which items take part at all, and where their neighbours lie."""
    known, limit = matcher.get("known_items"), matcher.get("min_interactions")
    if known is not None and limit is not None:
        yield (
            f"Only the {known:,} source items with at least {limit} training interactions are "
            "judged, are neighbours, and are searched."
        )
    across = matcher.get("neighbours_across_domains")
    if across is not None:
        yield f"Of all neighbours, {across:.1%} are of another domain than their item."
