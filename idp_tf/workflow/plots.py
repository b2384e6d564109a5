"""Small plots as SVG text, to stand inside the report page.

The text stays text (readable by machine and by screen reader), the fonts are the
page's, and every colour is a CSS variable of the page, so that a plot follows its
light and dark colours. The same numbers give the same bytes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from idp_tf.workflow.scores import SystemScores, protocol_label

# Stand-ins that matplotlib understands, each replaced by a variable of the page.
_INK: Final = "#0a0b01"
_MUTED: Final = "#0a0b02"
_RULE: Final = "#0a0b03"
_ACCENT: Final = "#0a0b04"
_BAR: Final = "#0a0b05"
_PAPER: Final = "#0a0b06"
_VARIABLES: Final = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _RULE: "var(--rule)",
    _ACCENT: "var(--accent)",
    _BAR: "var(--bar)",
    _PAPER: "var(--paper)",
}
_FONTS: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_HIGHLIGHTED: Final = "idp"
_DASHES: Final = ("-", "--", "-.", ":")


def bar_plot(
    scores_by_protocol: Mapping[str, Sequence[SystemScores]], metric: str, *, name: str
) -> str:
    """Bars with 95 % intervals over users, one panel a protocol, best system on top.

    Args:
        scores_by_protocol: For each protocol its rows; a system that is missing
            from a later protocol has no bar there.
        metric: The metric to draw.
        name: Makes the ids in the SVG unique within the page.

    Returns:
        An ``<svg>`` element.
    """
    first = next(iter(scores_by_protocol.values()))
    order = [score.system for score in sorted(first, key=lambda s: s.mean[metric])]
    labels = {score.system: score.label for score in first}
    panels = len(scores_by_protocol)
    with matplotlib.rc_context(_settings(name)):
        figure = Figure(figsize=(9.0, 0.62 + 0.3 * len(order)), layout="constrained")
        axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
        for place, (protocol, scores) in enumerate(scores_by_protocol.items()):
            _bars(axes[place], scores, order, metric)
            axes[place].set_title(
                f"{metric}, {protocol_label(protocol).lower()}", loc="left", color=_MUTED
            )
        axes[0].set_yticks(range(len(order)), [labels[system] for system in order])
        best = labels[order[-1]]
        return _svg(figure, name, f"{metric} of {len(order)} systems; the highest is {best}.")


def curve_plot(curve: Mapping[str, Sequence[float | None]], *, name: str, label: str) -> str:
    """Training curves of one fit: each series over the epochs in its own panel.

    Args:
        curve: ``epoch`` and one or more series of the same length, such as ``loss``
            and ``val_ndcg@10``; None where an epoch has no value. The highest value
            of every series but a loss is marked.
        name: Makes the ids in the SVG unique within the page.
        label: What was trained, for screen readers.

    Returns:
        An ``<svg>`` element.
    """
    series = {key: _numbers(values) for key, values in curve.items() if key != "epoch"}
    epochs = _numbers(curve.get("epoch") or range(1, 1 + max(map(len, series.values()))))
    panels = max(len(series), 2)  # One series alone keeps the size of two.
    with matplotlib.rc_context(_settings(name)):
        figure = Figure(figsize=(2.1 * panels, 1.55), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        for spare in axes[len(series) :]:
            spare.set_visible(False)
        for panel, (key, values) in zip(axes, series.items(), strict=False):
            _line(panel, epochs[: len(values)], values, key)
        return _svg(figure, name, f"Training curves of {label}: {', '.join(series)} by epoch.")


def rate_plot(
    values: Mapping[str, Mapping[float, float]], *, name: str, labels: Mapping[str, str]
) -> str:
    """Validation NDCG@10 by learning rate, a line a system, its best rate marked.

    Args:
        values: For each system its value by rate, rates rising.
        name: Makes the ids in the SVG unique within the page.
        labels: What a reader sees for each system.

    Returns:
        An ``<svg>`` element.
    """
    with matplotlib.rc_context(_settings(name)):
        figure = Figure(figsize=(7.0, 1.6 + 0.16 * len(values)), layout="constrained")
        axes = figure.subplots()
        for place, (system, by_rate) in enumerate(values.items()):
            _rates(axes, by_rate, system, place)
        rates = sorted({rate for by_rate in values.values() for rate in by_rate})
        axes.set_xscale("log")
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.minorticks_off()
        axes.set_title("validation NDCG@10 by learning rate", loc="left", color=_MUTED)
        axes.spines[["top", "right"]].set_visible(False)
        _name_lines(axes, values, labels, rates[-1])
        return _svg(figure, name, f"Validation NDCG@10 of {len(values)} systems by learning rate.")


def _rates(axes: Axes, by_rate: Mapping[float, float], system: str, place: int) -> None:
    colour = _ACCENT if system == _HIGHLIGHTED else _BAR
    style = _DASHES[place % len(_DASHES)]
    axes.plot(list(by_rate), list(by_rate.values()), style, color=colour, linewidth=1.3)
    best = max(by_rate, key=lambda rate: (by_rate[rate], rate))
    axes.plot([best], [by_rate[best]], color=colour, marker="o", markersize=4.5)


def _name_lines(
    axes: Axes, values: Mapping[str, Mapping[float, float]], labels: Mapping[str, str], last: float
) -> None:
    """Labels right of the lines' ends, in their order, spread evenly so that none overlap."""
    ends = {system: list(by_rate.values())[-1] for system, by_rate in values.items()}
    order = sorted(ends, key=lambda system: ends[system])
    for place, system in enumerate(order):
        axes.annotate(
            labels[system],
            (last, ends[system]),
            xytext=(1.06, (place + 0.5) / len(order)),
            textcoords="axes fraction",
            va="center",
            color=_ACCENT if system == _HIGHLIGHTED else _INK,
            arrowprops={"arrowstyle": "-", "relpos": (0, 0.5), "color": _RULE, "linewidth": 0.8},
        )


def _bars(axes: Axes, scores: Sequence[SystemScores], order: list[str], metric: str) -> None:
    found = {score.system: score for score in scores if metric in score.mean}
    ends = [_interval(score, metric)[1] for score in found.values()]
    widest = max(ends, default=0.0) or 1.0
    for place, system in enumerate(order):
        if system not in found:
            continue
        value, (low, high) = found[system].mean[metric], _interval(found[system], metric)
        colour = _ACCENT if system == _HIGHLIGHTED else _BAR
        axes.barh(place, value, height=0.62, color=colour)
        if high > low:
            # A light rim keeps the line visible on a dark bar.
            axes.plot([low, high], [place, place], color=_PAPER, linewidth=3.0)
            axes.plot([low, high], [place, place], color=_INK, linewidth=1.0)
        axes.text(high + 0.02 * widest, place, f"{value:.4f}", va="center", color=_INK)
    axes.set_xlim(0, widest * 1.2)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _interval(score: SystemScores, metric: str) -> tuple[float, float]:
    value = score.mean[metric]
    low, high = score.ci95.get(metric, (value, value))
    return max(low, 0.0), high


def _line(axes: Axes, epochs: list[float], values: list[float], key: str) -> None:
    axes.plot(epochs, values, color=_ACCENT, linewidth=1.4, marker="o", markersize=1.6)
    axes.set_title(key, loc="left", color=_MUTED)
    axes.spines[["top", "right"]].set_visible(False)
    axes.locator_params(axis="both", nbins=4)
    axes.margins(x=0.05, y=0.2)
    known = [i for i, value in enumerate(values) if math.isfinite(value)]
    if known and "loss" not in key:
        best = max(known, key=lambda i: values[i])
        _mark(axes, epochs[best], values[best])


def _mark(axes: Axes, epoch: float, value: float) -> None:
    """Names the best point above it, towards the side that has room."""
    axes.plot([epoch], [value], color=_ACCENT, marker="o", markersize=4.5)
    low, high = axes.get_xlim()
    axes.annotate(
        f"{value:.4f} at {epoch:g}",
        (epoch, value),
        xytext=(0, 5),
        textcoords="offset points",
        ha="right" if epoch > (low + high) / 2 else "left",
        va="bottom",
        color=_INK,
    )


def _numbers(values: Sequence[float | None] | range) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _settings(name: str) -> dict[RcKeyType, Any]:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 8.5,
        "axes.titlesize": 8.5,
        "axes.edgecolor": _RULE,
        "axes.labelcolor": _MUTED,
        "xtick.color": _RULE,
        "ytick.color": _RULE,
        "xtick.labelcolor": _MUTED,
        "ytick.labelcolor": _INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8.5,
    }


def _svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an element for HTML: no prolog, no links, the page's fonts and colours."""
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'xlink:href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r"(font: [\d.]+px) [^;\"]*", rf"\1 {_FONTS}", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    view = re.search(r'viewBox="[^"]*"', text)
    assert view is not None
    opening = f'<svg {view[0]} role="img" aria-label="{escape(description, quote=True)}">'
    return opening + text[text.index(">") + 1 :]
