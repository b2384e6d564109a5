"""A run's graph with its lineage: as SVG, and as text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from rich.console import Console

from idp_tf.errors import SettingsError
from pipelines.lineage import Step, edges_of, steps_of
from pipelines.record import Record
from pipelines.status import find_run

_WIDTH, _HEIGHT = 190, 46
_GAP_X, _GAP_Y = 60, 14
_MARGIN: Final = 16
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
        steps = steps_of(record, find_run(record, number).id)
    if output is None:
        for line in graph_text(steps):
            console.print(line, highlight=False, soft_wrap=True)
        return
    output.write_text(draw_graph(steps), encoding="utf-8")
    console.print(f"Drawn: {output}")


def graph_text(steps: Sequence[Step]) -> list[str]:
    """A line a node: its artifacts with their numbers, and those that they were made of."""
    lines = []
    for step in steps:
        made = ", ".join(f"{key} {a.id}" for key, found in step.outputs.items() for a in found)
        read = ", ".join(f"{a.producer} {a.id}" for found in step.inputs.values() for a in found)
        lines.append(f"{step.node_id} ({step.state}): {made or 'nothing'}")
        if read:
            lines.append(f"    from {read}")
    return lines


def draw_graph(steps: Sequence[Step]) -> str:
    """The graph as SVG, from left to right; colours tell what ran and what was reused."""
    edges = edges_of(steps)
    columns = _columns(steps, edges)
    places = {
        node: (_MARGIN + x * (_WIDTH + _GAP_X), _MARGIN + y * (_HEIGHT + _GAP_Y))
        for x, column in enumerate(columns)
        for y, node in enumerate(column)
    }
    height = max((y for _, y in places.values()), default=0) + _HEIGHT + _MARGIN
    width = max((x for x, _ in places.values()), default=0) + _WIDTH + _MARGIN
    body = [_edge(places[a], places[b]) for a, b in edges]
    body += [_box(step, *places[step.node_id]) for step in steps]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="system-ui, sans-serif">'
        "<title>Components of the run, and what they handed on</title>" + "".join(body) + "</svg>\n"
    )


def _columns(steps: Sequence[Step], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Nodes by the length of the longest way to them; steps come after what they read."""
    depth = {step.node_id: 0 for step in steps}
    for step in steps:
        before = [depth[a] + 1 for a, b in edges if b == step.node_id]
        depth[step.node_id] = max(before, default=0)
    columns: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node, column in depth.items():
        columns[column].append(node)
    return columns


def _edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x2, y2 = end[0], end[1] + _HEIGHT // 2
    middle = (x1 + x2) // 2
    return (
        f'<path d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}" fill="none" '
        'stroke="#8a949b" stroke-opacity=".55"/>'
    )


def _box(step: Step, x: int, y: int) -> str:
    colour = _COLOURS.get(step.state, "#8a949b")
    seconds = step.execution.seconds if step.state != "reused" else None
    told = f"{step.state}, {seconds:.1f} s" if seconds is not None else step.state
    numbers = ", ".join(str(a.id) for found in step.outputs.values() for a in found)
    detail = f"{told}; artifact {numbers}" if numbers else told
    return (
        f'<g><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" '
        'style="fill: var(--paper, #fff)"/>'  # edges pass behind
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{colour}" '
        f'fill-opacity=".12" stroke="{colour}"/>'
        f'<text x="{x + 10}" y="{y + 19}" font-size="13" fill="currentColor">'
        f"{escape(step.node_id)}</text>"
        f'<text x="{x + 10}" y="{y + 36}" font-size="10.5" fill="currentColor" '
        f'fill-opacity=".75">{escape(detail[:36])}</text></g>'
    )
