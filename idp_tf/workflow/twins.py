"""Each transferring system beside its twin: the same model from scratch (``System.twin``).

A loss is told as a gain is: negative transfer is a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy.typing as npt

from idp_tf.evaluation.significance import Significance, compare_systems
from idp_tf.systems import SYSTEMS
from idp_tf.workflow.report_sections import p_text
from idp_tf.workflow.scores import protocol_label, system_label

Verdict = Literal["gain", "loss", "no difference shown"]
Ranks = Mapping[str, Mapping[str, npt.ArrayLike]]
"""By protocol, then by system: shape (seeds, users)."""

NO_DIFFERENCE: Final = "no difference shown"


def compare_twins(ranks: Ranks, *, domain: str, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """What transfer has done to each system that transfers.

    Args:
        ranks: The ranks of every system of a run, by each protocol.
        domain: The target's name.
        metrics: Names that ``idp_tf.metrics.per_user`` knows.

    Returns:
        For each of them ``domain``, ``system``, ``twin``, and ``comparisons``: by protocol and
        metric the mean difference (the system less its twin), its 95 % interval, p, users, seeds
        and verdict; none where the twin was not run.

    Example:
        >>> ranks = {"full": {"idp": [[1, 1, 2, 1]], "sasrec": [[3, 2, 2, 4]]}}
        >>> (found,) = compare_twins(ranks, domain="tea", metrics=["HR@1"])
        >>> found["system"], found["twin"], found["comparisons"][0]["mean_difference"]
        ('idp', 'sasrec', 0.75)
    """
    slugs = dict.fromkeys(slug for by_system in ranks.values() for slug in by_system)
    pairs = [(slug, twin) for slug in slugs if (twin := SYSTEMS[slug].twin) is not None]
    return [
        {
            "domain": domain,
            "system": slug,
            "twin": twin,
            "comparisons": [
                _from_twin(found, slug)
                for protocol, by_system in ranks.items()
                if twin in by_system
                for found in compare_systems(
                    by_system, [(slug, twin)], domain=domain, protocol=protocol, metrics=metrics
                )
            ],
        }
        for slug, twin in pairs
    ]


def verdict_of(ci95: Sequence[float]) -> Verdict:
    """What a 95 % interval of the difference to the twin says.

    Example:
        >>> verdict_of([0.01, 0.03]), verdict_of([-0.02, -0.01]), verdict_of([-0.01, 0.02])
        ('gain', 'loss', 'no difference shown')
    """
    low, high = ci95
    return "gain" if low > 0 else "loss" if high < 0 else NO_DIFFERENCE


def twin_groups(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The comparisons in words, a group for each target and protocol."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in report.get("twins") or []:
        for found in entry["comparisons"]:
            key = (entry["domain"], found["protocol"])
            groups.setdefault(key, []).append(_row(entry, found))
    return [
        {"where": f"{protocol_label(protocol)} on {domain}", "rows": rows}
        for (domain, protocol), rows in groups.items()
    ]


def missing_twins(report: Mapping[str, Any]) -> list[str]:
    """A sentence for each system whose twin was not run."""
    return [
        f"On {entry['domain']}, {system_label(entry['twin'])} was not run beside "
        f"{system_label(entry['system'])}: whether transfer helped it is not shown."
        for entry in report.get("twins") or []
        if not entry["comparisons"]
    ]


def _from_twin(found: Significance, slug: str) -> dict[str, Any]:
    """A comparison as the difference of a system from its twin, below 0 where it is worse."""
    low, high = found["ci95"]
    worse = found["better"] != slug
    ci95 = [-high, -low] if worse else [low, high]
    return {
        "protocol": found["protocol"],
        "metric": found["metric"],
        "mean_difference": -found["mean_difference"] if worse else found["mean_difference"],
        "ci95": ci95,
        "p": found["p"],
        "users": found["users"],
        "seeds": found["seeds"],
        "verdict": verdict_of(ci95),
    }


def _row(entry: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    low, high = found["ci95"]
    return {
        "system": system_label(entry["system"]),
        "twin": system_label(entry["twin"]),
        "metric": found["metric"],
        "difference": f"{found['mean_difference']:+.4f}",
        "interval": f"{low:+.4f} to {high:+.4f}",
        "p": p_text(found["p"]),
        "verdict": found["verdict"],
        "kind": "none" if found["verdict"] == NO_DIFFERENCE else found["verdict"],
    }
