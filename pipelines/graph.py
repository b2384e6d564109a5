"""A run's graph with its lineage: as SVG, and as text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from rich.console import Console

from idp_tf.errors import SettingsError
from pipelines.layout import Layout, lay_out
from pipelines.lineage import Step, edges_of, gates_of, pipeline_of, place_of, steps_of
from pipelines.record import Record
from pipelines.status import find_run

_WIDTH, _HEIGHT = 176, 56
_LINE, _GAP_X, _GAP_Y = 8, 14, 34
_MARGIN: Final = 16
_LEAST: Final = 900
"""Narrower than so many pixels a page scrolls the graph rather than shrink it."""
_COLOURS: Final = {"ran": "#0b6f6a", "reused": "#8a949b", "failed": "#b3261e", "running": "#7a4b00"}


def show_graph(
    root: Path, number: int | None, output: Path | None, console: Console | None = None
) -> None:
    """Prints a run's graph, or draws it.

    Args:
        root: The pipeline's root.
        number: The run; the last one by default.
        output: A file that ends in .svg; None prints.
        console: Where to print.

    Raises:
        WorkdirError: if there is no such run.
        SettingsError: if the file is no .svg.
    """
    console = console or Console()
    if output is not None and output.suffix != ".svg":
        raise SettingsError(
            f"a graph is drawn as .svg, got {output.suffix or 'no ending'}",
            where=output,
            remedy="name the file graph.svg, or leave --output out to print it",
        )
    with Record(root, read_only=True) as record:
        run = find_run(record, number)
        steps = steps_of(record, run.id)
    if output is None:
        for line in graph_text(steps):
            console.print(line, highlight=False, soft_wrap=True)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    gates = gates_of(pipeline_of(run, steps), steps)
    output.write_text(draw_graph(steps, gates), encoding="utf-8")
    console.print(f"Drawn: {output}")


def graph_text(steps: Sequence[Step]) -> list[str]:
    """A line a node: what it made, and the folders below the root that it was made of."""
    lines = []
    for step in steps:
        made = ", ".join(
            f"{key}/{a.uri.name}" for key, found in step.outputs.items() for a in found
        )
        read = ", ".join(place_of(a) for found in step.inputs.values() for a in found)
        lines.append(f"{step.node_id} ({step.state}): {made or 'nothing'}")
        if read:
            lines.append(f"    from {read}")
    return lines


def draw_graph(steps: Sequence[Step], gates: Sequence[tuple[str, str]] = ()) -> str:
    """The graph as SVG, from above downwards; colours tell what ran and what was reused.

    Args:
        steps: The run's nodes.
        gates: Pairs of them, the second of which only waited for the first.
    """
    read = edges_of(steps)
    waited = [edge for edge in gates if edge not in read]
    nodes = [step.node_id for step in steps]
    layout = lay_out(nodes, [*read, *waited], box=_WIDTH, line=_LINE, gap=_GAP_X)
    width = round(layout.width) + 2 * _MARGIN
    height = (max(layout.rows.values(), default=-1) + 1) * (_HEIGHT + _GAP_Y) - _GAP_Y + 2 * _MARGIN
    body = [_edge(layout, edge, "stroke-dasharray='4 4'") for edge in waited]
    body += [_edge(layout, edge) for edge in read]
    body += [_box(step, *_corner(layout, step.node_id)) for step in steps]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" style="min-width: {min(width, _LEAST)}px" role="img" '
        'font-family="system-ui, sans-serif">'
        "<title>Components of the run, and what they handed on; a dashed line is a component "
        f"that was only waited for</title>{_ARROW}{''.join(body)}</svg>\n"
    )


_ARROW: Final = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#8a949b"/></marker></defs>'
)


def _corner(layout: Layout, node: str) -> tuple[int, int]:
    row = layout.rows[node]
    left = layout.centres[node, row] - _WIDTH / 2
    return _MARGIN + round(left), _MARGIN + row * (_HEIGHT + _GAP_Y)


def _edge(layout: Layout, edge: tuple[str, str], style: str = "") -> str:
    """A line that runs straight through the rows that it passes, and bends between them."""
    (start, first), *passed, (end, last) = (
        (_MARGIN + round(layout.centres[place]), place[1]) for place in layout.way(edge)
    )
    x, y = start, _MARGIN + first * (_HEIGHT + _GAP_Y) + _HEIGHT
    path = f"M{x} {y}"
    for place, row in (*passed, (end, last)):
        path += f" C{x} {y + _GAP_Y // 2} {place} {y + _GAP_Y // 2} {place} {y + _GAP_Y}"
        x, y = place, _MARGIN + row * (_HEIGHT + _GAP_Y) + _HEIGHT
        path += f" V{y}" if (place, row) != (end, last) else ""
    return (
        f'<path d="{path}" fill="none" stroke="#8a949b" stroke-opacity=".7" {style} '
        'marker-end="url(#arrow)"/>'
    )


def _box(step: Step, x: int, y: int) -> str:
    colour = _COLOURS.get(step.state, "#8a949b")
    seconds = step.execution.seconds if step.state != "reused" else None
    told = f"{step.state}, {seconds:.1f} s" if seconds is not None else step.state
    size = min(13.0, 13 * 23 / len(step.node_id))  # 23 letters fit
    lines = (f"{told}; execution {step.made_by.id}", ", ".join(step.outputs) or "nothing made")
    folders = "\n".join(map(place_of, step.artifacts))
    rect = f'x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"'
    small = "".join(
        f'<text x="{x + 10}" y="{y + 34 + 14 * number}" font-size="10.5" fill="currentColor" '
        f'fill-opacity=".8">{escape(line[:34])}</text>'
        for number, line in enumerate(lines)
    )
    return (
        f"<g><title>{escape(folders or step.node_id)}</title>"
        f'<rect {rect} style="fill: var(--paper, #fff)"/>'
        f'<rect {rect} fill="{colour}" fill-opacity=".12" stroke="{colour}"/>'
        f'<text x="{x + 10}" y="{y + 19}" font-size="{size:.1f}" fill="currentColor">'
        f"{escape(step.node_id)}</text>{small}</g>"
    )
