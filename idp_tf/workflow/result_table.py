"""The result table for a terminal: systems as rows, both protocols side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from idp_tf.errors import DataError
from idp_tf.workflow.scores import (
    COLD,
    SystemScores,
    best_two,
    collect_scores,
    domains_of,
    protocols_of,
)

TERMINAL_METRICS: Final = ("HR@5", "NDCG@5", "NDCG@10", "MRR")
_WIDTH: Final = 160


def format_results(
    report: Mapping[str, Any],
    domain: str,
    *,
    metrics: tuple[str, ...] = TERMINAL_METRICS,
    color: bool = False,
) -> str:
    """Draws the results of one domain as text.

    Args:
        report: What report.json holds.
        domain: The domain's name.
        metrics: The metrics to show for each protocol.
        color: Whether to add terminal codes, for a terminal only.

    Returns:
        Lines without a last newline; an asterisk marks the best of each column.

    Raises:
        DataError: if the report has no results of that domain.
    """
    protocols = protocols_of(report, domain)
    if not protocols:
        raise DataError(
            f"no results of domain {domain!r}",
            where="report",
            remedy=f"there are: {', '.join(domains_of(report)) or 'none'}",
        )
    console = Console(file=io.StringIO(), width=_WIDTH, force_terminal=color, no_color=not color)
    # Other users, so a table of their own.
    for cold in (False, True):
        columns = {
            protocol: collect_scores(report, domain, protocol)
            for protocol in protocols
            if protocol.endswith(COLD) == cold
        }
        if columns:
            console.print(_table(columns, metrics))
            console.print(_caption(report, domain, columns), highlight=False)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _table(columns: Mapping[str, list[SystemScores]], metrics: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("system", no_wrap=True)
    for protocol in columns:
        for place, metric in enumerate(metrics):
            head = f"{protocol}\n{metric}" if place == 0 else f"\n{metric}"
            table.add_column(head, justify="right", no_wrap=True)
    systems = dict.fromkeys(score.system for scores in columns.values() for score in scores)
    for system in systems:
        cells = [Text(system)]
        for scores in columns.values():
            cells += [_cell(scores, system, metric) for metric in metrics]
        table.add_row(*cells)
    return table


def _cell(scores: list[SystemScores], system: str, metric: str) -> Text:
    own = next((score for score in scores if score.system == system), None)
    if own is None or metric not in own.mean:
        return Text("—", style="dim")
    best, second = best_two(scores, metric)
    value = own.mean[metric]
    if value == best:
        return Text(f"{value:.4f}*", style="bold")
    return Text(f"{value:.4f} ", style="underline" if value == second else "")


def _caption(
    report: Mapping[str, Any], domain: str, columns: Mapping[str, list[SystemScores]]
) -> str:
    scores = [score for rows in columns.values() for score in rows]
    seeds = max(score.seeds for score in scores)
    parts = [
        f"domain {domain}",
        f"{max(score.users for score in scores):,} users",
        "one seed" if seeds == 1 else f"mean over up to {seeds} seeds",
        "* best",
    ]
    lines = [" · ".join(parts)]
    if report.get("demonstration"):
        lines.append("A demonstration on the built-in catalogue, never evidence.")
    return "\n".join(lines)
