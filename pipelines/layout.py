"""Places for a graph's boxes and lines, from above downwards, so that lines pass between boxes.

After Sugiyama: a node stands below all that it waits for, what passes a row has a place in it,
and a row's places are in the order of what they hang on. Lines from one node share their way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Final

_SWEEPS: Final = 12

Edge = tuple[str, str]
Place = tuple[str, int]
"""A node, and the row: its own, or one that a line from it passes."""


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    Args:
        rows: Each node's row.
        centres: The middle of each place, from left to right.
        width: How wide it is.
    """

    rows: Mapping[str, int]
    centres: Mapping[Place, float]
    width: float

    def way(self, edge: Edge) -> list[Place]:
        """The places that an edge leads through, its ends among them."""
        start, end = edge
        passed = [(start, row) for row in range(self.rows[start], self.rows[end])]
        return [*passed, (end, self.rows[end])]


def lay_out(
    nodes: Sequence[str], edges: Sequence[Edge], *, box: float, line: float, gap: float
) -> Layout:
    """Finds the places.

    Args:
        nodes: Each after those that it hangs on.
        edges: Pairs of them.
        box: How wide a node is.
        line: How wide a line is that passes a row.
        gap: What stays free between two places.
    """
    layout = Layout(_rows(nodes, edges), {}, 0)
    steps = sorted({pair for edge in edges for pair in pairwise(layout.way(edge))})
    places = {(node, layout.rows[node]) for node in nodes} | {p for pair in steps for p in pair}
    # In the order of the nodes at first; sorts are stable.
    ordered = sorted(places, key=lambda place: nodes.index(place[0]))
    rows = [[p for p in ordered if p[1] == row] for row in range(len({*layout.rows.values()}))]
    widths = {p: box if layout.rows[p[0]] == p[1] else line for p in ordered}
    centres = {p: x for row in rows for p, x in zip(row, _packed(row, widths, gap), strict=True)}
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            near = {p: _near(p, steps, centres, above=down) for p in row}
            if sweep < _SWEEPS // 2:
                row.sort(key=lambda p: near[p])
            centres |= zip(row, _spread(row, near, widths, gap), strict=True)
    left = min((centres[p] - widths[p] / 2 for p in ordered), default=0)
    right = max((centres[p] + widths[p] / 2 for p in ordered), default=0)
    return Layout(layout.rows, {p: centres[p] - left for p in ordered}, right - left)


def _rows(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Nodes by the length of the longest way to them."""
    rows: dict[str, int] = {}
    for node in nodes:
        rows[node] = max((rows[a] + 1 for a, b in edges if b == node), default=0)
    return rows


def _near(
    place: Place,
    steps: Sequence[tuple[Place, Place]],
    centres: Mapping[Place, float],
    *,
    above: bool,
) -> float:
    """The middle of what a place is joined to in the row above, or below."""
    joined = [a if above else b for a, b in steps if (b if above else a) == place]
    return fmean(centres[other] for other in joined) if joined else centres[place]


def _packed(row: Sequence[Place], widths: Mapping[Place, float], gap: float) -> list[float]:
    """Places side by side around 0."""
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + (widths[left] + widths[right]) / 2 + gap)
    return [offset - offsets[-1] / 2 for offset in offsets][: len(row)]


def _spread(
    row: Sequence[Place], near: Mapping[Place, float], widths: Mapping[Place, float], gap: float
) -> list[float]:
    """Places as near to where they belong as their widths allow: an isotonic regression."""
    packed = _packed(row, widths, gap)
    pools: list[list[float]] = []
    for place, offset in zip(row, packed, strict=True):
        pools.append([near[place] - offset])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    shifts = [fmean(pool) for pool in pools for _ in pool]
    return [offset + shift for offset, shift in zip(packed, shifts, strict=True)]
