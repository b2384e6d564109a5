"""Our side of ``evaluate``: both protocols, and the floor that no evaluation goes below."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.domains import Prepared
from idp_tf.data.sequences import LEAVE_OUT_TEST
from idp_tf.evaluation.models import model_scorer
from idp_tf.evaluation.negatives import sample_negatives
from idp_tf.evaluation.protocol import FULL, evaluate
from idp_tf.evaluation.ranking import Scorer
from idp_tf.metrics import summarize
from idp_tf.models import SASRec

_BLOCK = 256
_NEGATIVES = 99


def measure(folder: str, rounds: int) -> dict[str, float]:
    """CPU seconds of each way, the least of some rounds that take turns, after a warm-up."""
    prepared = Prepared.load(folder)
    scorer = model_scorer(SASRec(prepared.num_items), "untrained")
    ways: dict[str, Callable[[], Any]] = {
        "full": lambda: summarize(_full(prepared, scorer)),
        "sampled": lambda: summarize(_sampled(prepared, scorer)),
        "floor": lambda: _floor(prepared, scorer),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            begun = time.process_time()
            way()
            if turn:
                seconds[name].append(time.process_time() - begun)
    return {name: min(values) for name, values in seconds.items()}


def _full(prepared: Prepared, scorer: Scorer) -> Any:
    return _rank(prepared, scorer, FULL)


def _sampled(prepared: Prepared, scorer: Scorer) -> Any:
    """The draw of the negatives counts, as it does in RecBole's."""
    negatives = sample_negatives(prepared.sequences, prepared.num_items, _NEGATIVES, 0)
    return _rank(prepared, scorer, f"sampled-{_NEGATIVES}", negatives)


def _rank(prepared: Prepared, scorer: Scorer, protocol: str, negatives: Any = None) -> Any:
    return evaluate(
        scorer,
        prepared.sequences,
        split="test",
        num_items=prepared.num_items,
        protocols=(protocol,),
        negatives=negatives,
        block=_BLOCK,
    )[protocol]


def _floor(prepared: Prepared, scorer: Scorer) -> None:
    """The bare forward pass and one matrix product with the item table; no rank is made."""
    users = np.arange(prepared.sequences.num_users)
    table = np.ascontiguousarray(scorer.item_vectors[1:].T)
    for start in range(0, len(users), _BLOCK):
        block = users[start : start + _BLOCK]
        ids = prepared.sequences.left_padded(block, scorer.max_length, LEAVE_OUT_TEST)
        np.asarray(scorer.encode_users(ids)) @ table


def main(arguments: dict[str, Any]) -> Any:
    """The measurement, as ``run_worker`` calls it."""
    return measure(**arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
