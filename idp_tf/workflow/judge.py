"""How well titles find behaviour neighbours, before and after the matcher's tuning."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.data.domain import MergedDomains
from idp_tf.text import NO_NEIGHBOUR, example_matches, neighbour_recall
from idp_tf.workflow.known_items import Int32Array, KnownItems

RECALL_AT: Final = 10
EXAMPLES: Final = 6

Float32Array = npt.NDArray[np.float32]

_log = logging.getLogger(__name__)


def judge_matcher(
    known: KnownItems,
    neighbours: Int32Array,
    held_out: npt.NDArray[np.int64],
    titles: list[str],
    untuned: Float32Array,
    tuned: Float32Array,
    seed: int,
) -> dict[str, Any]:
    """Judges by the known items that tuning never saw and that have a neighbour.

    Args:
        known: The items that are judged, and that neighbours are looked for among.
        neighbours: Their behaviour neighbours, by rows among them.
        held_out: Rows of all items that tuning never saw.
        titles: Titles of all source items.
        untuned: Their vectors before tuning, (num_source_items, width).
        tuned: Their vectors after it.
        seed: Seed of the choice of examples.

    Returns:
        Figures for the report, as JSON; recalls are None where there is nothing to judge by.
    """
    judged = np.flatnonzero(
        np.isin(known.rows, held_out) & (neighbours != NO_NEIGHBOUR).any(axis=1)
    )
    figures: dict[str, Any] = {
        "recall_untuned": None,
        "recall_tuned": None,
        "recall_at": RECALL_AT,
        "held_out_items": len(judged),
        "known_items": len(known.rows),
        "examples": [],
    }
    if not len(judged):
        _log.warning(
            "nothing to judge the matcher by: none of the %d held-out items is among the %d that "
            "have behaviour neighbours; lower matcher.min_interactions or hold out more",
            len(held_out),
            len(known.rows),
        )
        return figures
    before, after = untuned[known.rows], tuned[known.rows]
    for name, vectors in (("recall_untuned", before), ("recall_tuned", after)):
        figures[name] = neighbour_recall(vectors, neighbours, judged, known.offsets, k=RECALL_AT)
    examples = example_matches(
        [titles[row] for row in known.rows],
        neighbours,
        before,
        after,
        judged,
        known.offsets,
        num_examples=EXAMPLES,
        seed=seed,
    )
    return figures | {"examples": [asdict(example) for example in examples]}


def share_across_domains(
    known: KnownItems, neighbours: Int32Array, sources: MergedDomains
) -> float:
    """The share of all neighbours that are of another domain than their item."""
    owners = sources.domain_of(known.rows + 1)
    elsewhere = owners[neighbours] != owners[:, None]
    return float(elsewhere[neighbours != NO_NEIGHBOUR].mean())
