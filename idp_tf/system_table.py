"""The systems as ``idp-tf systems`` shows them."""

from __future__ import annotations

import io
import json
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from idp_tf.systems import SYSTEMS

_WIDTH: Final = 120


def format_systems() -> str:
    """A table of all systems, floors first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("system", "what it is", "needs", "from scratch it is", "paper"):
        table.add_column(column, no_wrap=column in ("system", "from scratch it is"))
    for system in SYSTEMS.values():
        needs = ", ".join(system.needs)
        table.add_row(system.slug, system.label, needs, system.twin or "", system.reference)
    console = Console(file=io.StringIO(), width=_WIDTH)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def systems_json() -> str:
    """The same as JSON: a list with an object for each system.

    Example:
        >>> json.loads(systems_json())[0]["slug"]
        'popularity'
    """
    rows = [
        {
            "slug": system.slug,
            "label": system.label,
            "paper": system.reference,
            "needs": list(system.needs),
            "trained": system.trained,
            "twin": system.twin,
        }
        for system in SYSTEMS.values()
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False)
