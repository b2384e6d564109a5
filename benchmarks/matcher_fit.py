"""matcher-fit: how long contrastive tuning of 25,000 source items takes, and what it brings.

The five source domains are prepared and pre-trained on as ``idp-tf run --preset quick`` does,
in ``.bench-workdir``, which a second run finds done. The matcher is then tuned with both
objectives on 25,000 items, three times each, and now and then the titles of all items with
behaviour neighbours are encoded: how many neighbours of the held-out ones do they find? That
time is not counted.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.base import ROOT, BenchResult, Goal, run_worker

WORKDIR: Final = ROOT / ".bench-workdir"
SOURCES: Final = ("grocery", "home", "movies", "books", "electronics")
ITEMS, PASSES, LIMIT = 25_000, 3, 60.0
THREADS: Final = 2
# 25,000 items are left when a tenth, and its namesakes, is held out.
_FULL: Final = ("matcher.min_interactions=9", f"matcher.max_items={ITEMS}")
_SMOKE: Final = (
    "pretrain.epochs=1",
    "matcher.min_interactions=5",
    "matcher.kept_layers=1",
    "matcher.title_length=8",
    "matcher.batch_size=16",
    "matcher.max_items=64",
)


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Tunes on 25,000 items and judges by held-out ones on the way."""
    if not smoke and data is None:
        raise MissingDataError(
            "matcher-fit tunes on real domains", remedy=f"--data DIR, with {', '.join(SOURCES)}"
        )
    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            "folder": folder,
            "data": None if smoke else str(data),
            "workdir": folder if smoke else str(WORKDIR),
        }
        found = run_worker("benchmarks.matcher_fit", arguments, threads=THREADS, here=smoke)
    rows = found["rows"]
    minutes = ITEMS / found["items"] * rows[len(rows) // PASSES]["minutes"]
    before, after = rows[0]["held-out recall@10"], rows[-1]["held-out recall@10"]
    return BenchResult(
        rows,
        [
            Goal("minutes for 25,000 items", f"at most {LIMIT:.0f}", minutes, minutes <= LIMIT),
            Goal("held-out recall@10 after, by before", "above 1", after / before, after > before),
        ],
        [
            f"{found['items']} items tuned on, {PASSES} times each; {found['held out']} held out "
            "with neighbours."
        ],
    )
