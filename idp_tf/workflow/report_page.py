"""report.html: one file that shows a run to a person, readable with no network.

The page is made from what report.json holds and from nothing else. Everything in
it is escaped: titles come from data that others wrote.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from idp_tf._version import __version__
from idp_tf.workflow.plots import bar_plot, curve_plot
from idp_tf.workflow.report_matcher import matcher_view
from idp_tf.workflow.report_sections import (
    HEADLINE_METRIC,
    blends,
    comparisons,
    domain_rows,
    headline,
    openings,
    result_tables,
    settings_text,
    stage_rows,
)
from idp_tf.workflow.report_tuning import tuning_views
from idp_tf.workflow.scores import COLD, collect_scores, domains_of, protocols_of, system_label
from idp_tf.workflow.twins import missing_twins, twin_groups

TEMPLATE: Final = "report.html"


def write_report_page(report: Mapping[str, Any], path: str | Path) -> None:
    """Writes the page whole or not at all.

    Args:
        report: What report.json holds. Every key may be missing: ``config``,
            ``domains`` (manifests by name), ``results``, ``significance``, ``twins``
            (``compare_twins``), ``tuning`` (``tuning_views``), ``curves``
            (``{stage: {"epoch": […], "loss": […], "val_ndcg@10": […]}}``), ``matches``
            (``{domain: [{"target_title", "matches": [{"source_title",
            "source_domain", "score", "weight"}]}]}``), ``transfer`` (facts by
            domain), ``matcher`` (``recall_untuned``, ``recall_tuned``, ``recall_at``,
            ``held_out_items``, ``known_items``, ``min_interactions``,
            ``neighbours_across_domains``, ``examples``), ``stages``,
            ``test_openings`` (``{system: count}``, or that by domain), ``notes`` and
            ``demonstration``.
        path: Where to write.

    Example:
        >>> import tempfile
        >>> page = Path(tempfile.mkdtemp()) / "report.html"
        >>> write_report_page({"notes": ["an empty run"]}, page)
        >>> "an empty run" in page.read_text(encoding="utf-8")
        True
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(render_report(report), encoding="utf-8")
    os.replace(partial, path)


def render_report(report: Mapping[str, Any]) -> str:
    """The page as text; see ``write_report_page``."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["label"] = system_label
    return environment.get_template(TEMPLATE).render(_view(report))


def _view(report: Mapping[str, Any]) -> dict[str, Any]:
    domains = domains_of(report)
    return {
        "version": __version__,
        "demonstration": bool(report.get("demonstration")),
        "metric": HEADLINE_METRIC,
        "targets": [_target(report, domain, place) for place, domain in enumerate(domains)],
        "comparisons": comparisons(report),
        "twins": twin_groups(report),
        "missing_twins": missing_twins(report),
        "matches": {name: found for name, found in (report.get("matches") or {}).items() if found},
        "blends": blends(report),
        "matcher": matcher_view(report.get("matcher")),
        "tuning": tuning_views(report),
        "curves": _curves(report),
        "domains": domain_rows(report),
        "stages": stage_rows(report),
        "notes": list(report.get("notes") or []),
        "settings": settings_text(report),
    }


def _target(report: Mapping[str, Any], domain: str, place: int) -> dict[str, Any]:
    scores = {
        protocol: collect_scores(report, domain, protocol)
        for protocol in protocols_of(report, domain)
    }
    drawn = {
        protocol: kept
        for protocol, found in scores.items()
        # What other users show has its tables; the bars compare systems over all users.
        if not protocol.endswith(COLD) and (kept := [s for s in found if HEADLINE_METRIC in s.mean])
    }
    plot = bar_plot(drawn, HEADLINE_METRIC, name=f"bars-{place}") if drawn else ""
    return {
        "domain": domain,
        "headline": headline(report, domain),
        "openings": openings(report, domain),
        "tables": result_tables(report, domain),
        # Made by plots.py, which escapes what it is given.
        "plot": Markup(plot),
        "intervals": any(HEADLINE_METRIC in s.ci95 for found in drawn.values() for s in found),
    }


def _curves(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for place, (name, curve) in enumerate((report.get("curves") or {}).items()):
        if any(values for key, values in curve.items() if key != "epoch"):
            plot = curve_plot(curve, name=f"curve-{place}", label=system_label(name))
            found.append({"name": system_label(name), "plot": Markup(plot)})
    return found
