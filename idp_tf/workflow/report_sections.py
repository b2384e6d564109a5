"""The parts of a report that are words and tables, ready for the template.

Every function takes what report.json holds and gives plain values; a part that
the report lacks gives an empty list or None, and the page leaves it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from idp_tf.workflow.scores import (
    SystemScores,
    best_two,
    collect_scores,
    protocol_label,
    protocols_of,
    system_label,
)

HEADLINE_METRIC: Final = "NDCG@5"
SIGNIFICANT: Final = 0.05
_HIDDEN: Final = "NDCG@1"
"""Equal to HR@1 by definition, and so not shown twice."""


@dataclass(frozen=True)
class Cell:
    """One number of the result table.

    Args:
        value: The mean, four decimals.
        spread: The standard deviation over seeds, or nothing.
        place: ``best``, ``second`` or nothing.
    """

    value: str
    spread: str
    place: str


@dataclass(frozen=True)
class ResultTable:
    """The result table of one protocol.

    Args:
        protocol: The protocol's slug.
        title: The protocol in words.
        metrics: The column names.
        rows: Each system's slug, label and cells.
        caption: Users and seeds.
    """

    protocol: str
    title: str
    metrics: list[str]
    rows: list[tuple[str, str, list[Cell]]]
    caption: str


def result_tables(report: Mapping[str, Any], domain: str) -> list[ResultTable]:
    """One table a protocol."""
    tables = []
    for protocol in protocols_of(report, domain):
        scores = collect_scores(report, domain, protocol)
        metrics = [name for name in scores[0].mean if name != _HIDDEN]
        places = {metric: best_two(scores, metric) for metric in metrics}
        rows = [
            (s.system, s.label, [_cell(s, metric, *places[metric]) for metric in metrics])
            for s in scores
        ]
        tables.append(
            ResultTable(protocol, protocol_label(protocol), metrics, rows, _caption(scores))
        )
    return tables


def headline(report: Mapping[str, Any], domain: str) -> str | None:
    """One sentence that sets the fine-tuned system against the one from scratch."""
    protocols = protocols_of(report, domain)
    if not protocols:
        return None
    scores = {s.system: s for s in collect_scores(report, domain, protocols[0])}
    if not {"idp", "sasrec"} <= scores.keys():
        return None
    ours = scores["idp"].mean.get(HEADLINE_METRIC)
    control = scores["sasrec"].mean.get(HEADLINE_METRIC)
    if ours is None or not control:
        return None
    change = 100 * (ours / control - 1)
    return (
        f"On {domain}, IDP reaches {HEADLINE_METRIC} {ours:.4f} over "
        f"{protocol_label(protocols[0]).lower()}; SASRec trained from scratch reaches "
        f"{control:.4f} ({change:+.1f} %{_headline_p(report, domain, protocols[0])})."
    )


def comparisons(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The paired tests in words, grouped by domain and protocol."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in report.get("significance") or []:
        key = (entry.get("domain", ""), entry.get("protocol", ""))
        groups.setdefault(key, []).append(entry)
    return [
        {
            "where": " on ".join(part for part in (protocol_label(protocol), domain) if part),
            "users": _count(entries[0].get("users")),
            "rows": [_comparison(entry) for entry in entries],
        }
        for (domain, protocol), entries in groups.items()
    ]


def domain_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Counts of each domain, and what each filter dropped."""
    rows = []
    for name, manifest in (report.get("domains") or {}).items():
        counts = manifest.get("after") or manifest
        users, interactions = counts.get("users"), counts.get("interactions")
        rows.append(
            {
                "name": name,
                "users": _count(users),
                "items": _count(counts.get("items")),
                "interactions": _count(interactions),
                "length": f"{interactions / users:.1f}" if users and interactions else "—",
                "untitled": _count(manifest.get("untitled_items")),
                "before": _count((manifest.get("before") or {}).get("interactions")),
                "drops": _drops(manifest),
            }
        )
    return rows


def stage_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each stage's name, time in words, share of the longest, and whether it was reused."""
    stages = report.get("stages") or []
    longest = max((stage.get("seconds") or 0.0 for stage in stages), default=0.0) or 1.0
    return [
        {
            "name": stage["name"],
            "time": duration(stage.get("seconds") or 0.0),
            "share": round(100 * (stage.get("seconds") or 0.0) / longest, 1),
            "reused": bool(stage.get("reused")),
        }
        for stage in stages
    ]


def openings(report: Mapping[str, Any], domain: str) -> str | None:
    """How often a domain's test items were opened, in words; None where nobody counted.

    Each reported configuration (a system with a seed) opens them once. More
    openings than that mean that test figures were seen before, and are named.
    """
    counts = _opening_counts(report, domain)
    if not counts:
        return None
    reported = Counter(
        system for system, _ in {(r["system"], r["seed"]) for r in _rows(report, domain)}
    )
    total = sum(counts.values())
    times = "once" if total == 1 else f"{total} times"
    more = [system for system, count in counts.items() if count > reported[system]]
    if not more:
        return f"Its test items were opened {times}, once for each system and seed shown."
    named = ", ".join(f"{system_label(s)} ({counts[s]} for {reported[s]} shown)" for s in more)
    return f"Its test items were opened {times}, more often than is shown here for {named}."


def blends(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """For each target: facts about its generated embeddings, and each source's share in them."""
    found = {}
    for domain, summary in (report.get("transfer") or {}).items():
        shares = summary.get("share_by_source") or {}
        found[domain] = {
            "facts": _blend_facts(summary),
            "shares": [
                {"name": name, "text": f"{100 * share:.0f} %", "share": round(100 * share, 1)}
                for name, share in shares.items()
            ],
        }
    return found


def settings_text(report: Mapping[str, Any]) -> str | None:
    """The settings as YAML."""
    config = report.get("config")
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else None


def duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> duration(3.2), duration(75), duration(3720)
        ('3.2 s', '1 min 15 s', '1 h 02 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def p_text(p: float) -> str:
    """A p value as it is read.

    Example:
        >>> p_text(0.03214), p_text(2e-9)
        ('p = 0.032', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _cell(scores: SystemScores, metric: str, best: float | None, second: float | None) -> Cell:
    if metric not in scores.mean:
        return Cell("—", "", "")
    value = scores.mean[metric]
    spread = f"{scores.sd[metric]:.4f}" if metric in scores.sd else ""
    place = "best" if value == best else "second" if value == second else ""
    return Cell(f"{value:.4f}", spread, place)


def _caption(scores: Sequence[SystemScores]) -> str:
    users = max(score.users for score in scores)
    seeds = sorted({score.seeds for score in scores})
    if seeds == [1]:
        return f"{users:,} users, one seed."
    counts = " or ".join(str(count) for count in seeds)
    return f"{users:,} users; mean ± standard deviation over {counts} seeds."


def _headline_p(report: Mapping[str, Any], domain: str, protocol: str) -> str:
    for entry in report.get("significance") or []:
        where = (entry.get("domain", domain), entry.get("protocol", protocol))
        pair = {entry["better"], entry["than"]}
        if (
            where == (domain, protocol)
            and pair == {"idp", "sasrec"}
            and entry["metric"] == HEADLINE_METRIC
        ):
            return f", {p_text(entry['p'])}"
    return ""


def _rows(report: Mapping[str, Any], domain: str) -> list[Mapping[str, Any]]:
    return [row for row in report.get("results") or [] if row["domain"] == domain]


def _opening_counts(report: Mapping[str, Any], domain: str) -> Mapping[str, int]:
    """``{system: count}``, or that within ``{domain: …}`` where there are several targets."""
    counts = report.get("test_openings") or {}
    nested = counts.get(domain)
    if isinstance(nested, Mapping):
        return nested
    return {system: count for system, count in counts.items() if isinstance(count, int)}


def _blend_facts(summary: Mapping[str, Any]) -> list[str]:
    """Short sentences, one for each figure that is there."""
    texts = (
        (("items",), "{:,} items got an embedding."),
        (("untitled",), "Without a title, and so with the fallback: {:,}."),
        (
            ("mean_best_score", "mean_score"),
            "The best match has a mean similarity of {:.2f}, all matches {:.2f}.",
        ),
        (
            ("mean_source_norm", "mean_norm"),
            "Source embeddings have a mean norm of {:.2f}, the generated ones {:.2f}.",
        ),
        (("retrieval_recall",), "Retrieval found {:.1%} of the true nearest titles."),
    )
    values = [([summary.get(key) for key in keys], text) for keys, text in texts]
    return [text.format(*found) for found, text in values if None not in found]


def _comparison(entry: Mapping[str, Any]) -> dict[str, Any]:
    low, high = entry["ci95"]
    clear = entry["p"] < SIGNIFICANT
    return {
        "better": system_label(entry["better"]),
        "than": system_label(entry["than"]),
        "significant": clear,
        "verdict": "is better than" if clear else "is not clearly different from",
        "metric": entry["metric"],
        "difference": f"{entry['mean_difference']:+.4f}",
        "interval": f"{low:+.4f} to {high:+.4f}",
        "p": p_text(entry["p"]),
        "seeds": _seeds(entry.get("seeds")),
    }


def _seeds(seeds: object) -> str:
    if isinstance(seeds, Mapping):
        return " / ".join(str(count) for count in dict.fromkeys(seeds.values()))
    return "—" if seeds is None else str(seeds)


def _count(value: int | None) -> str:
    return "—" if value is None else f"{value:,}"


def _drops(manifest: Mapping[str, Any]) -> list[str]:
    """What reading and each filter dropped, in words, nothing for a filter without effect."""
    reading = manifest.get("dropped_by_reading") or {}
    found = [f"{reason}: {count:,}" for reason, count in reading.items() if count]
    for record in manifest.get("filters") or []:
        parts = [_counted(count, what) for what, count in record["dropped"].items() if count]
        if parts:
            found.append(f"{record['filter']}: {', '.join(parts)}")
    return found


def _counted(count: int, plural: str) -> str:
    return f"{count:,} {plural.removesuffix('s') if count == 1 else plural}"
