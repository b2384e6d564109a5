"""matcher-fit: how long contrastive tuning of 25,000 source items takes, and what it brings.

The five source domains are prepared and pre-trained on as ``idp-tf run --preset quick`` does,
in ``.bench-workdir``, which a second run finds done. The matcher is then tuned with both
objectives on 25,000 items, three times each. Now and then the titles of all items that have
behaviour neighbours are encoded, to see how many neighbours of the held-out ones they find;
the minutes of the curve are tuning's alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.base import ROOT, BenchResult, Curve, Goal, run_worker
from benchmarks.domains import SMOKE_SETTINGS, find_domains, require_data

WORKDIR: Final = ROOT / ".bench-workdir"
ITEMS: Final = 25_000
PASSES: Final = 3
LIMIT: Final = 60.0
THREADS: Final = 2
_POINTS_A_PASS: Final = 2
# Some 25,000 items are left of those with 9 interactions when a tenth and its namesakes are out.
_FULL: Final = ("matcher.min_interactions=9", f"matcher.max_items={ITEMS}")
_SMOKE: Final = (*SMOKE_SETTINGS, "matcher.max_items=64")


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Tunes on 25,000 items, and judges by held-out ones on the way."""
    require_data(data, smoke)
    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            "data": None if data is None else str(data),
            "workdir": folder if smoke else str(WORKDIR),
            "smoke": smoke,
        }
        found = run_worker("benchmarks.matcher_fit", arguments, threads=THREADS, here=smoke)
    rows = found["rows"]
    before, after = rows[0]["held-out recall@10"], rows[-1]["held-out recall@10"]
    minutes = rows[-1]["minutes"] / PASSES
    return BenchResult(
        rows,
        [
            Goal(
                f"minutes for {found['items']:,} items, once each",
                f"at most {LIMIT:.0f} for {ITEMS:,}",
                minutes,
                found["items"] >= ITEMS and minutes <= LIMIT,
            ),
            Goal("held-out recall@10 after by before", "above 1", after / before, after > before),
        ],
        [f"Judged by {found['held out']:,} held-out items among {found['known']:,}."],
        Curve("minutes", ("held-out recall@10",)),
    )


def measure(data: str | None, workdir: str, smoke: bool) -> dict[str, Any]:
    """Tunes after preparation and pre-training, which are reused if they are there."""
    from idp_tf.text import hold_out, tune_matcher
    from idp_tf.workflow import stages
    from idp_tf.workflow.known_items import find_known_items
    from idp_tf.workflow.match import build_encoder, find_neighbours
    from idp_tf.workflow.prepare import load_sources
    from idp_tf.workflow.pretrain import load_pretrained

    run = _build_run(data, Path(workdir), smoke)
    stages.prepare(run)
    stages.pretrain(run)
    merged, settings = load_sources(run), run.settings.matcher
    known = find_known_items(merged, settings)
    neighbours = find_neighbours(load_pretrained(run), known, run.settings.matcher)
    held_out = hold_out(merged.num_items, settings.held_out, run.settings.seed)
    judged = np.flatnonzero(np.isin(known.rows, held_out))
    encoder = build_encoder(run)
    steps = PASSES * (min(ITEMS, settings.max_items or ITEMS) // settings.batch_size)
    curve = _Curve(encoder, merged.titles, known, neighbours, judged, steps)
    with tempfile.TemporaryDirectory() as folder:
        result = tune_matcher(
            encoder,
            merged.titles,
            known.spread(neighbours, merged.num_items),
            settings.model_copy(update={"steps": steps}),
            seed=run.settings.seed,
            folder=Path(folder),
            item_offsets=merged.item_offsets,
            callbacks=[curve.callback()],
        )
    return {
        "rows": curve.rows,
        "items": result.num_anchors,
        "held out": len(judged),
        "known": len(known.rows),
    }


class _Curve:
    """Recall by the held-out items against minutes of tuning, those of judging left out."""

    def __init__(
        self,
        encoder: Any,
        titles: list[str],
        known: Any,
        neighbours: Any,
        judged: Any,
        steps: int,
    ):
        self.rows: list[dict[str, Any]] = []
        self._encoder, self._known, self._neighbours = encoder, known, neighbours
        self._titles, self._judged = [titles[row] for row in known.rows], judged
        self._every = max(1, steps // (PASSES * _POINTS_A_PASS))
        self._steps = steps
        self._seconds = 0.0

    def callback(self) -> Any:
        """What ``tune_matcher`` is to call."""
        import keras

        return keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: self._judge(0),
            on_train_batch_end=lambda batch, logs: self._after(batch + 1),
        )

    def _after(self, step: int) -> None:
        if step % self._every == 0 or step == self._steps:
            self._seconds += time.perf_counter() - self._begun
            self._judge(step)

    def _judge(self, step: int) -> None:
        from idp_tf.text import neighbour_recall

        vectors = self._encoder.encode(self._titles)
        recall = neighbour_recall(vectors, self._neighbours, self._judged, self._known.offsets)
        self.rows.append(
            {"step": step, "minutes": self._seconds / 60, "held-out recall@10": recall}
        )
        self._begun = time.perf_counter()


def _build_run(data: str | None, workdir: Path, smoke: bool) -> Any:
    from idp_tf.config import load_settings
    from idp_tf.workflow.run import Run, RunConfig

    folder, sources, target = find_domains(
        None if data is None else Path(data), workdir / "catalogue"
    )
    settings = load_settings("quick", overrides=_SMOKE if smoke else _FULL, seed=0)
    return Run(workdir, RunConfig(data=folder, sources=sources, target=target, settings=settings))


def main(arguments: dict[str, Any]) -> Any:
    """The measurement, as ``run_worker`` calls it."""
    return measure(**arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
