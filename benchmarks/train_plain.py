"""Our training and the plain Keras baseline over the same batches, taking turns by epochs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

from benchmarks.domains import Prepared
from benchmarks.plain_keras import PlainSASRec
from idp_tf.config import load_settings
from idp_tf.data.batches import TrainingBatches
from idp_tf.evaluation.models import model_scorer
from idp_tf.evaluation.negatives import sample_negatives
from idp_tf.evaluation.protocol import evaluate
from idp_tf.evaluation.significance import paired_test
from idp_tf.metrics import user_ndcg
from idp_tf.models import SASRec
from idp_tf.models.training import compile_model

OURS, PLAIN = "ours", "plain tf_keras"
PATIENCE = 5
_SETTINGS = load_settings("standard")


class _Validation:
    """Validation NDCG@10 of each of a sample of users over negatives of their own domain."""

    def __init__(self, prepared: Prepared):
        count = prepared.sequences.num_users
        wanted = min(_SETTINGS.pretrain.validation_users, count)
        self.prepared = prepared
        self.users = np.sort(np.random.default_rng(0).choice(count, wanted, replace=False))
        self.low, self.high = prepared.item_ranges[self.users].T
        self.size = _SETTINGS.evaluation.negatives
        self.negatives = sample_negatives(
            prepared.sequences,
            prepared.num_items,
            self.size,
            0,
            self.low,
            self.high,
            users=self.users,
        )

    def __call__(self, model: Any) -> npt.NDArray[np.float64]:
        protocol = f"sampled-{self.size}"
        ranks = evaluate(
            model_scorer(model, "validation"),
            self.prepared.sequences,
            split="validation",
            num_items=self.prepared.num_items,
            protocols=(protocol,),
            negatives=self.negatives,
            users=self.users,
            item_low=self.low,
            item_high=self.high,
        )
        return user_ndcg(ranks[protocol], 10)


def measure(folder: str, epochs: int) -> dict[str, Any]:
    """Wall seconds and validation NDCG@10 of each epoch of both, each until it rises no more."""
    prepared = Prepared.load(folder)
    batches = TrainingBatches(
        prepared.sequences,
        prepared.num_items,
        batch_size=_SETTINGS.pretrain.batch_size,
        item_ranges=prepared.item_ranges,
    )
    validate = _Validation(prepared)
    models = _models(prepared.num_items)
    # What is best so far: its epoch, and NDCG@10 of each user.
    best: dict[str, tuple[int, npt.NDArray[np.float64]]] = {}
    rows = []
    for epoch in range(1, epochs + 1):
        for name in list(models):
            seconds = _train_epoch(models[name], batches, epoch - 1)
            values = validate(models[name])
            rate, ndcg = batches.num_targets / seconds, float(values.mean())
            row = {"trainer": name, "epoch": epoch, "seconds": seconds}
            rows.append({**row, "targets a second": rate, "ndcg@10": ndcg})
            if name not in best or ndcg > best[name][1].mean():
                best[name] = epoch, values
            elif epoch - best[name][0] >= PATIENCE:
                del models[name]
    p, difference, interval = paired_test(best[OURS][1], best[PLAIN][1])
    return {
        "rows": rows,
        "best": {name: epoch for name, (epoch, _) in best.items()},
        "epochs of both": min(_epochs(rows, name) for name in best),
        "targets": batches.num_targets,
        "p": p,
        "difference": difference,
        "interval": interval,
        "users": len(validate.users),
    }


def _epochs(rows: list[dict[str, Any]], trainer: str) -> int:
    return sum(row["trainer"] == trainer for row in rows)


def _models(num_items: int) -> dict[str, Any]:
    """Both, with the learning rates of the standard preset's pre-training."""
    settings = _SETTINGS.pretrain
    tf_keras.utils.set_random_seed(0)
    ours, plain = SASRec(num_items), PlainSASRec(num_items)
    compile_model(ours, settings)
    plain.compile(optimizer=tf_keras.optimizers.Adam(settings.learning_rate))
    return {OURS: ours, PLAIN: plain}


def _train_epoch(model: Any, batches: TrainingBatches, epoch: int) -> float:
    begun = time.perf_counter()
    model.fit(
        batches.dataset(first_epoch=epoch),
        steps_per_epoch=batches.steps_per_epoch,
        initial_epoch=epoch,
        epochs=epoch + 1,
        verbose=0,
    )
    return time.perf_counter() - begun


def main(arguments: dict[str, Any]) -> Any:
    """The measurement, as ``run_worker`` calls it."""
    return measure(**arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
