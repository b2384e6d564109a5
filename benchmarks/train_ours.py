"""Our side of ``train`` on one domain: targets a CPU second, and CPU seconds to an NDCG@10."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras

from benchmarks.domains import Prepared
from idp_tf.config import load_settings
from idp_tf.data.batches import TrainingBatches
from idp_tf.evaluation.models import model_scorer
from idp_tf.evaluation.protocol import FULL, evaluate
from idp_tf.evaluation.ranking import Scorer
from idp_tf.metrics import ndcg
from idp_tf.models import SASRec
from idp_tf.models.training import compile_model


class _Clock(tf_keras.callbacks.Callback):
    """CPU seconds of training, all threads, without what happens between two epochs.

    The first epoch's include all that came before it, such as tracing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.begun = time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.process_time() - self.begun)
        self.between()
        self.begun = time.process_time()

    def between(self) -> None:
        """Nothing, for a plain measurement of speed."""


class _Until(_Clock):
    """Stops training when validation reaches a goal."""

    def __init__(self, prepared: Prepared, goal: float):
        super().__init__()
        self.prepared, self.goal = prepared, goal
        self.values: list[float] = []

    def between(self) -> None:
        self.values.append(validate(self.prepared, model_scorer(self.model, "ours")))
        self.model.stop_training = self.values[-1] >= self.goal


def validate(prepared: Prepared, scorer: Scorer, block: int = 256) -> float:
    """Validation NDCG@10 of all users among all items but those of their training."""
    ranks = evaluate(
        scorer,
        prepared.sequences,
        split="validation",
        num_items=prepared.num_items,
        protocols=(FULL,),
        block=block,
    )
    return float(ndcg(ranks[FULL], 10))


def speed(folder: str, epochs: int) -> dict[str, Any]:
    """Targets a CPU second, the median of all epochs but the first, which traces."""
    prepared = Prepared.load(folder)
    clock = _Clock()
    targets = _train(prepared, epochs, clock)
    seconds = float(np.median(clock.seconds[1:]))
    return {"seconds": seconds, "targets": targets, "targets a second": targets / seconds}


def reach(
    folder: str, epochs: int, batch_size: int, seed: int, loss: str, learning_rate: float
) -> dict[str, Any]:
    """CPU seconds to the NDCG@10 of what a peer left in ``users.npy`` and ``items.npy``.

    The seconds hold tracing; those without it are beside them.
    """
    prepared = Prepared.load(folder)
    theirs = _peer_ndcg(prepared, Path(folder))
    clock = _Until(prepared, theirs)
    chosen = {"batch_size": batch_size, "loss": loss, "learning_rate": learning_rate}
    targets = _train(prepared, epochs, clock, seed, **chosen)
    steady = float(np.median(clock.seconds[1:] or clock.seconds))
    return {
        "seconds": sum(clock.seconds),
        "seconds without tracing": steady * len(clock.seconds),
        "epochs": len(clock.seconds),
        "targets": targets * len(clock.seconds),
        "ndcg@10": clock.values[-1],
        "ndcg@10 to reach": theirs,
        "reached": clock.values[-1] >= theirs,
    }


def _peer_ndcg(prepared: Prepared, folder: Path) -> float:
    users, items = np.load(folder / "users.npy"), np.load(folder / "items.npy")
    # All users in one block, so that these are the vectors of those asked for.
    scorer = Scorer("peer", lambda ids: users, items, 1)
    return validate(prepared, scorer, block=len(users))


def _train(prepared: Prepared, epochs: int, clock: _Clock, seed: int = 0, **chosen: Any) -> int:
    """Trains as the standard preset pre-trains, but for ``chosen``; returns targets an epoch."""
    settings = load_settings("standard").pretrain.model_copy(update=chosen)
    model = SASRec(prepared.num_items, loss=settings.loss, seed=seed)
    batches = TrainingBatches(
        prepared.sequences,
        prepared.num_items,
        batch_size=settings.batch_size,
        seed=seed,
        negatives=model.item_loss.negatives,
    )
    compile_model(model, settings)
    model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=epochs,
        verbose=0,
        callbacks=[clock],
    )
    return batches.num_targets


def main(arguments: dict[str, Any]) -> Any:
    """One step in a process of its own."""
    given = {name: value for name, value in arguments.items() if name != "step"}
    return speed(**given) if arguments["step"] == "speed" else reach(**given)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
