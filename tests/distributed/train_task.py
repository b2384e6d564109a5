"""One process of a training. Not a test: tests start it, as often as the cluster has tasks.

    python train_task.py STRATEGY FOLDER SEED EPOCHS DROPOUT

The world has users who walk through a circle of items, so that there is something to learn.
With more users than items in the circle, replicas meet the same items in one batch.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from idp_tf.data.batches import TrainingBatches
from idp_tf.data.sequences import Sequences
from idp_tf.evaluation import model_scorer

# More rows than TablePartitioner leaves whole, of which few are used; 61 users in batches of
# 15 leave replicas unequal shares.
NUM_ITEMS, USERS, CIRCLE, LENGTH = 1300, 61, 40, 9


def sequences() -> Sequences:
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, LENGTH + 1, USERS)
    starts = rng.integers(0, CIRCLE, USERS)
    values = [1 + (start + np.arange(n)) % CIRCLE for start, n in zip(starts, lengths, strict=True)]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(np.concatenate(values).astype(np.int32), offsets)


def batches(seed: int = 1) -> TrainingBatches:
    return TrainingBatches(sequences(), NUM_ITEMS, batch_size=15, max_length=8, seed=seed)


def train_here(strategy: object, folder: Path, seed: int, epochs: int, dropout: float) -> None:
    """Trains under a strategy (None for none), and writes what came of it."""
    from contextlib import nullcontext

    from idp_tf.config import TrainSettings
    from idp_tf.models import SASRec, save_model
    from idp_tf.models.training import train
    from idp_tf.strategy import is_chief
    from idp_tf.workflow.validation import build_validation

    with strategy.scope() if strategy else nullcontext():
        model = SASRec(
            NUM_ITEMS, 8, num_layers=1, num_heads=2, max_length=8, seed=seed, dropout=dropout
        )
    sparse = watch_gradients()
    state = train(
        model,
        batches(seed),
        TrainSettings(learning_rate=5e-3, epochs=epochs, patience=epochs, batch_size=15),
        validate=build_validation(
            lambda: model_scorer(model, "validation"),
            sequences(),
            num_items=NUM_ITEMS,
            max_users=USERS,
            negatives=99,
            seed=0,
        ),
        folder=folder / "checkpoints",
        name="cluster",
    )
    save_model(model, folder / "model")
    if is_chief(model.distribute_strategy):
        shapes = [list(variable.shape) for variable in model.trainable_variables]
        result = {"state": asdict(state), "sparse": sparse, "shapes": shapes}
        (folder / "result.json").write_text(json.dumps(result))


def watch_gradients() -> dict[str, bool]:
    """Fills up, as steps are traced, with whether each variable's gradient is sparse."""
    import tensorflow as tf

    from idp_tf.optimizers import LazyAdam

    seen: dict[str, bool] = {}
    update = LazyAdam.update_step

    def watched(self: LazyAdam, gradient: object, variable: object) -> None:
        seen[variable.name] = isinstance(gradient, tf.IndexedSlices)
        update(self, gradient, variable)

    LazyAdam.update_step = watched
    return seen


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    name, folder, seed, epochs, dropout = sys.argv[1:]
    from idp_tf.cluster import serve_task
    from idp_tf.strategy import build_strategy

    serve_task(name)
    if name == "mirrored":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = build_strategy(name)
    train_here(strategy, Path(folder), int(seed), int(epochs), float(dropout))


if __name__ == "__main__":
    main()
