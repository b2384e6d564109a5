"""The results of report.json, gathered into one row a system for tables and plots."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from idp_tf.systems import SYSTEMS

FULL: Final = "full"
COLD: Final = "-cold"
"""What a protocol's name ends with where only users with a cold test item take part."""


@dataclass(frozen=True)
class SystemScores:
    """One system on one domain by one protocol, over its seeds.

    Args:
        system: The slug.
        seeds: How many seeds it ran with.
        users: How many users it was evaluated on.
        mean: Each metric's mean over the seeds.
        sd: Each metric's standard deviation over the seeds; empty for one seed.
        ci95: Each metric's interval over users, its ends averaged over the seeds,
            which is no narrower than the interval of the users' means over seeds.
    """

    system: str
    seeds: int
    users: int
    mean: dict[str, float]
    sd: dict[str, float]
    ci95: dict[str, tuple[float, float]]

    @property
    def label(self) -> str:
        """What a reader sees."""
        return system_label(self.system)


def system_label(slug: str) -> str:
    """What a reader sees for a slug; a system that is no longer known keeps its slug."""
    return SYSTEMS[slug].label if slug in SYSTEMS else slug


def domains_of(report: Mapping[str, Any]) -> list[str]:
    """The domains that have results, in the order of the results."""
    return list(dict.fromkeys(row["domain"] for row in report.get("results") or []))


def protocols_of(report: Mapping[str, Any], domain: str) -> list[str]:
    """A domain's protocols, sampled ones first."""
    rows = [row for row in report.get("results") or [] if row["domain"] == domain]
    found = dict.fromkeys(row["protocol"] for row in rows)
    return sorted(found, key=lambda name: (name.endswith(COLD), name.startswith(FULL)))


def protocol_label(protocol: str) -> str:
    """A protocol in words.

    Example:
        >>> protocol_label("sampled-99")
        '99 sampled negatives'
    """
    kind, _, rest = protocol.partition("-")
    count, _, _ = rest.partition("-")
    label = protocol
    if kind == "sampled" and count:
        label = f"{count} sampled negatives"
    elif kind == FULL:
        label = "Full ranking"
    return f"{label}, users whose test item is cold" if protocol.endswith(COLD) else label


def collect_scores(report: Mapping[str, Any], domain: str, protocol: str) -> list[SystemScores]:
    """One row a system, in the order of ``SYSTEMS``, unknown systems last.

    Args:
        report: What report.json holds.
        domain: The domain's name.
        protocol: The protocol's name.
    """
    by_system: dict[str, list[Mapping[str, Any]]] = {}
    for row in report.get("results") or []:
        if row["domain"] == domain and row["protocol"] == protocol:
            by_system.setdefault(row["system"], []).append(row)
    order = {system: place for place, system in enumerate(SYSTEMS)}
    systems = sorted(by_system, key=lambda system: order.get(system, len(order)))
    return [_over_seeds(system, by_system[system]) for system in systems]


def best_two(scores: Sequence[SystemScores], metric: str) -> tuple[float | None, float | None]:
    """The best and the second best value of a metric; equal values share a place.

    Args:
        scores: Rows of one domain and protocol.
        metric: The metric's name.
    """
    values = sorted({s.mean[metric] for s in scores if metric in s.mean}, reverse=True)
    return (values[0] if values else None), (values[1] if len(values) > 1 else None)


def _over_seeds(system: str, rows: Sequence[Mapping[str, Any]]) -> SystemScores:
    names = list(rows[0]["metrics"])
    values = {name: [row["metrics"][name] for row in rows] for name in names}
    intervals = [row.get("ci95") or {} for row in rows]
    shared = [name for name in names if all(name in interval for interval in intervals)]
    return SystemScores(
        system=system,
        seeds=len(rows),
        users=max(row.get("users", 0) for row in rows),
        mean={name: statistics.fmean(values[name]) for name in names},
        sd={name: statistics.stdev(values[name]) for name in names if len(rows) > 1},
        ci95={
            name: (
                statistics.fmean(interval[name][0] for interval in intervals),
                statistics.fmean(interval[name][1] for interval in intervals),
            )
            for name in shared
        },
    )
