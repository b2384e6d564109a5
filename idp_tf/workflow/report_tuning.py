"""What the report page says of the search for learning rates."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from idp_tf.workflow.plots import rate_plot
from idp_tf.workflow.report_sections import duration
from idp_tf.workflow.scores import system_label


def tuning_views(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each target where rates were searched for: a plot, and a row a system and seed.

    Args:
        report: What report.json holds; ``tuning`` is ``{domain: [{"system", "seed", "chosen",
            "trials": [{"learning_rate", "value", "best_epoch", "epochs", "seconds"}]}]}``.
    """
    found = []
    for place, (domain, studies) in enumerate((report.get("tuning") or {}).items()):
        if not studies:
            continue
        rates = sorted(
            {trial["learning_rate"] for study in studies for trial in study["trials"]}, reverse=True
        )
        plot = rate_plot(_means(studies), name=f"tuning-{place}", labels=_labels(studies))
        found.append(
            {
                "domain": domain,
                "plot": Markup(plot),
                "rates": [f"{rate:g}" for rate in rates],
                "rows": [_row(study, rates) for study in studies],
            }
        )
    return found


def _means(studies: Sequence[Mapping[str, Any]]) -> dict[str, dict[float, float]]:
    """Each system's validation NDCG@10 by rate, the mean over its seeds."""
    values: dict[str, dict[float, list[float]]] = {}
    for study in studies:
        by_rate = values.setdefault(study["system"], {})
        for trial in study["trials"]:
            by_rate.setdefault(trial["learning_rate"], []).append(trial["value"])
    return {
        system: {rate: statistics.fmean(by_rate[rate]) for rate in sorted(by_rate)}
        for system, by_rate in values.items()
    }


def _labels(studies: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {study["system"]: system_label(study["system"]) for study in studies}


def _row(study: Mapping[str, Any], rates: Sequence[float]) -> dict[str, Any]:
    trials = {trial["learning_rate"]: trial for trial in study["trials"]}
    cells = [_cell(trials.get(rate), rate == study["chosen"]) for rate in rates]
    return {"label": system_label(study["system"]), "seed": study["seed"], "cells": cells}


def _cell(trial: Mapping[str, Any] | None, chosen: bool) -> dict[str, Any]:
    if trial is None:
        return {"value": "—", "about": "", "chosen": False}
    about = f"epoch {trial['best_epoch']} of {trial['epochs']}, {duration(trial['seconds'])}"
    return {"value": f"{trial['value']:.4f}", "about": about, "chosen": chosen}
