"""slices.svg: each slice's value and its paired differences, on one page."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.components.evaluator.models import BASELINE, CONTROL, MODEL
from pipelines.components.evaluator.parameters import MetricName
from pipelines.components.evaluator.results import Results, Row
from pipelines.components.evaluator.slicing import (
    DOMAIN,
    HISTORY_LENGTH,
    ITEM_NOVELTY,
    ITEM_POPULARITY,
    ITEM_TRAINING,
    OVERALL,
    Slice,
)
from pipelines.components.evaluator.sums import Estimate

_INK, _MUTED, _RULE = "#1a1c1e", "#5f6670", "#d9dde2"
_COLOURS: Final = {MODEL: "#0b6bcb", CONTROL: "#8a929c", BASELINE: "#c2570c"}
_MARKS: Final = {MODEL: "o", CONTROL: "D", BASELINE: "s"}
_LABELS: Final = {
    MODEL: "model",
    CONTROL: "control, from scratch",
    BASELINE: "baseline, last blessed",
}
_TITLES: Final = {
    OVERALL: "",
    DOMAIN: "Domain",
    HISTORY_LENGTH: "Length of the history",
    ITEM_POPULARITY: "Test item's count in training",
    ITEM_TRAINING: "Test item in training",
    ITEM_NOVELTY: "Test item to the baseline",
}
_ROW_INCHES: Final = 0.27
_SPREAD: Final = 0.18
_WIDTH_USERS: Final = 30
"""Slices of at least so many users decide how wide the panel of differences is."""

_STYLE: Final[dict[Any, Any]] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "slices",
    "axes.edgecolor": _RULE,
    "xtick.color": _MUTED,
    "axes.labelcolor": _MUTED,
    "text.color": _INK,
}


def draw_slices(results: Results, plotted: MetricName) -> str:
    """The picture as SVG; the same results give the same text.

    Args:
        results: What was found.
        plotted: The metric and the protocol.
    """
    lines = _lines(results, plotted.protocol)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 1.6 + _ROW_INCHES * len(lines)), layout="constrained")
        values, differences = figure.subplots(1, 2, sharey=True, width_ratios=(1.0, 1.15))
        _draw_values(values, results, lines, plotted)
        _draw_differences(differences, results, lines, plotted)
        _label_rows(values, results, lines, plotted)
        shown = dict(zip(*reversed(_legend(values)), strict=True))
        shown |= dict(zip(*reversed(_legend(differences)), strict=True))
        figure.legend(
            shown.values(), shown.keys(), loc="outside upper right", ncols=3, frameon=False
        )
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _legend(axes: Axes) -> tuple[list[Any], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    return handles, labels


def _lines(results: Results, protocol: str) -> list[Slice | str]:
    """Slices from the top, a title before those of each dimension; one slice alone is everyone."""
    found = [row.slice for row in results.comparing(MODEL, protocol)]
    sizes = Counter(each.dimension for each in found)
    found = [each for each in found if sizes[each.dimension] > 1 or each.dimension == OVERALL]
    lines: list[Slice | str] = []
    for place, each in enumerate(found):
        title = _TITLES[each.dimension]
        if title and (place == 0 or found[place - 1].dimension != each.dimension):
            lines.append(title)
        lines.append(each)
    return lines


def _by_slice(rows: Sequence[Row]) -> dict[Slice, Row]:
    return {row.slice: row for row in rows}


def _draw_values(
    axes: Axes, results: Results, lines: Sequence[Slice | str], plotted: MetricName
) -> None:
    for name in (MODEL, CONTROL, BASELINE):
        # Values of a baseline over fewer items would stand beside what they can't be held against.
        rows = _by_slice([r for r in results.comparing(name, plotted.protocol) if r.scope.is_whole])
        found = {s: rows[s].of(name, plotted.metric) for s in rows}
        _draw_points(axes, lines, found, name, 0.0, filled=name == MODEL)
    axes.set_xlim(left=0)
    _tidy(axes, lines, f"{plotted.metric}, {_protocol(plotted.protocol)}")


def _draw_differences(
    axes: Axes, results: Results, lines: Sequence[Slice | str], plotted: MetricName
) -> None:
    axes.axvline(0, color=_MUTED, linewidth=0.8)
    others = [name for name in (CONTROL, BASELINE) if results.comparing(name, plotted.protocol)]
    drawn: list[Estimate] = []
    for place, name in enumerate(others):
        rows = _by_slice(results.comparing(name, plotted.protocol))
        found = {s: rows[s].difference(name, plotted.metric) for s in rows}
        shift = _SPREAD * (2 * place - len(others) + 1)
        _draw_points(axes, lines, found, name, shift, filled=True)
        drawn += found.values()
    _limit(axes, drawn)
    _tidy(axes, lines, "model minus the other, by user, with 95 % intervals")
    baseline = results.comparing(BASELINE, plotted.protocol)
    if baseline and not baseline[0].scope.is_whole:
        told = f"against the baseline: the {len(baseline[0].scope.items):,} items that both know"
        axes.set_xlabel(told, loc="left", fontsize=8)


def _limit(axes: Axes, drawn: Sequence[Estimate]) -> None:
    """Slices of a few users must not stretch the axis: their intervals may leave the panel."""
    wide = [found.interval() for found in drawn if found.users >= _WIDTH_USERS]
    if wide:
        low, high = min(0.0, *(w[0] for w in wide)), max(0.0, *(w[1] for w in wide))
        gap = 0.06 * (high - low) or 0.01
        axes.set_xlim(low - gap, high + gap)


def _draw_points(
    axes: Axes,
    lines: Sequence[Slice | str],
    found: dict[Slice, Estimate],
    name: str,
    shift: float,
    *,
    filled: bool,
) -> None:
    shown = [
        (y + shift, found[s]) for y, s in enumerate(lines) if not isinstance(s, str) and s in found
    ]
    if not shown:
        return
    colour = _COLOURS[name]
    for y, estimate in shown:
        low, high = estimate.interval()
        if filled:
            axes.plot([low, high], [y, y], color=colour, linewidth=1.3, solid_capstyle="butt")
    axes.plot(
        [estimate.mean for _, estimate in shown],
        [y for y, _ in shown],
        _MARKS[name],
        color=colour,
        markersize=4.5,
        markerfacecolor=colour if filled else "white",
        linestyle="none",
        label=_LABELS[name],
    )


def _label_rows(
    axes: Axes, results: Results, lines: Sequence[Slice | str], plotted: MetricName
) -> None:
    users = {row.slice: row.sums.users for row in results.comparing(MODEL, plotted.protocol)}
    texts = [s if isinstance(s, str) else f"{s.name} ({users[s]:,} users)" for s in lines]
    axes.set_yticks(range(len(lines)), texts)
    for label, line in zip(axes.get_yticklabels(), lines, strict=True):
        if isinstance(line, str):
            label.set_fontweight("bold")
    axes.set_ylim(len(lines) - 0.4, -0.6)


def _tidy(axes: Axes, lines: Sequence[Slice | str], title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(axis="x", color=_RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=6)
    for y, line in enumerate(lines):
        if isinstance(line, str):
            axes.axhline(y - 0.5, color=_RULE, linewidth=0.6)


def _protocol(name: str) -> str:
    return "whole catalogue" if name == "full" else f"among {name.partition('-')[2]} negatives"
