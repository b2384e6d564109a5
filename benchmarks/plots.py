"""The curve of a benchmark, drawn from its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.base import Curve
from idp_tf.errors import SettingsError

_SUFFIXES: Final = (".svg", ".png", ".pdf")
_WIDE: Final = 30
"""How many times the first x the last must be for a logarithmic axis."""


def check_plot_file(file: Path) -> None:
    """Refuses what cannot be drawn, before anything is measured.

    Raises:
        SettingsError: for another ending than that of a picture.
    """
    if file.suffix not in _SUFFIXES:
        raise SettingsError(
            f"{file} cannot be drawn", where="--plot", remedy=f"end it in {', '.join(_SUFFIXES)}"
        )


def draw_curve(rows: Sequence[Mapping[str, Any]], curve: Curve, title: str, file: Path) -> None:
    """Draws one panel for each of the curve's columns.

    Args:
        rows: Measurements; those without the curve's columns are left out.
        curve: What is drawn over what.
        title: Stands above.
        file: Where; its ending says in which format.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    drawn = [row for row in rows if curve.has(row)]
    x = [row[curve.x] for row in drawn]
    figure = Figure(figsize=(4.2 * len(curve.y), 3.0), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, len(curve.y), squeeze=False)[0]
    for axes, column in zip(panels, curve.y, strict=True):
        axes.plot(x, [row[column] for row in drawn], marker="o")
        axes.set_xlabel(curve.x)
        axes.set_title(column, fontsize="medium")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
        if x[0] and x[-1] / x[0] >= _WIDE:
            axes.set_xscale("log")
    # The same figures give the same bytes.
    with mpl.rc_context({"svg.hashsalt": title, "svg.fonttype": "none"}):
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
