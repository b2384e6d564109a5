"""Training with early stopping that survives ``kill -9`` and repeats exactly.

``tf_keras.callbacks.BackupAndRestore`` brings back weights and optimizer, but
``EarlyStopping`` forgets its best value and its patience, and dropout and data
order start anew. Here all of it stands in one checkpoint at the end of every
epoch: weights, optimizer, dropout counters, the best value and epoch, and the
history; data order is a function of the epoch (``TrainingBatches``).
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from idp_tf.config import TrainSettings
from idp_tf.data.batches import TrainingBatches
from idp_tf.errors import WorkdirError
from idp_tf.models.base import SequenceModel
from idp_tf.models.fitting import fit_asynchronously, fit_in_step
from idp_tf.optimizers import LazyAdam
from idp_tf.strategy import agreed, chiefs_folder, is_asynchronous, is_chief, together

MONITOR = "val_ndcg@10"

_MOMENTUM = 0.9
# Gradients that come late act as momentum, so Adam is to add less (Mitliagkas et al. 2016,
# "Asynchrony begets momentum"); what was measured stands in docs/distributed.md.
_ASYNCHRONOUS_MOMENTUM = 0.5

# Steps between two looks of Python at the training, which cost as much as some matrix products.
# Replicas take one: in a loop, workers may gather the rows of two gradients in different orders.
_STEPS_AT_ONCE = 16

# What TensorFlow raises on files that are cut short or not its own.
_DAMAGE = (tf.errors.OpError, AssertionError, LookupError, OSError, RuntimeError, ValueError)

_log = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """Where a training stands; also its result.

    Attributes:
        epoch: Epochs finished.
        best_epoch: The epoch (from 1) with the best validation NDCG@10; 0 before any.
        best_value: That NDCG@10.
        stopped: Whether patience ran out or the last epoch is done.
        history: One value an epoch for each of ``loss``, ``val_ndcg@10`` and ``seconds``.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float = float("-inf")
    stopped: bool = False
    history: dict[str, list[float]] = field(default_factory=dict)

    def record(self, loss: float, value: float, seconds: float) -> bool:
        """Notes one epoch; True if it is the best so far.

        Args:
            loss: The epoch's mean training loss.
            value: Its validation NDCG@10; a tie with the best is no better.
            seconds: How long it took, validation included.
        """
        self.epoch += 1
        for name, number in (("loss", loss), (MONITOR, value), ("seconds", seconds)):
            self.history.setdefault(name, []).append(float(number))
        if value > self.best_value:
            self.best_epoch, self.best_value = self.epoch, float(value)
            return True
        return False


def compile_model(model: SequenceModel, settings: TrainSettings) -> None:
    """Compiles a model as ``train`` has it: LazyAdam, built, and several steps in one call.

    Args:
        model: Made under its strategy's scope.
        settings: Its learning rate is taken.
    """
    strategy = model.distribute_strategy
    alone = strategy.num_replicas_in_sync == 1
    with strategy.scope():
        momentum = _ASYNCHRONOUS_MOMENTUM if is_asynchronous(strategy) else _MOMENTUM
        model.compile(
            optimizer=LazyAdam(settings.learning_rate, beta_1=momentum),
            steps_per_execution=_STEPS_AT_ONCE if alone else 1,
        )
        # Variables that appear in the first step would have it traced twice.
        model.optimizer.build(model.trainable_variables)


def train(
    model: SequenceModel,
    batches: TrainingBatches,
    settings: TrainSettings,
    *,
    validate: Callable[[], float],
    folder: str | Path,
    name: str,
    tensorboard_dir: str | Path | None = None,
    callbacks: tuple[tf_keras.callbacks.Callback, ...] = (),
) -> TrainingState:
    """Trains by ``model.fit`` until validation NDCG@10 stops rising; the best weights stay.

    Under a synchronous strategy the replicas share each batch. Under a
    ``ParameterServerStrategy`` workers take one batch each (``fit_asynchronously``).

    Args:
        model: The model; its weights at the first call are the start. It trains by the
            strategy under whose scope it was made (``build_strategy``).
        batches: Training batches.
        settings: Learning rate, most epochs, patience.
        validate: Gives the validation NDCG@10 of the model as it is; of several workers
            the chief alone calls it.
        folder: Where checkpoints are kept; a second call with the same folder goes on.
            All machines of a cluster must see it.
        name: What progress lines call this training.
        tensorboard_dir: Where TensorBoard's events go, if anywhere.
        callbacks: Further Keras callbacks.

    Returns:
        The final state. ``model`` holds the weights of the best epoch.

    Raises:
        WorkdirError: if no checkpoint in the folder can be read though some exist.
        ClusterError: if another process of the cluster is gone, but for a worker of a
            ``ParameterServerStrategy``, without which training goes on.
    """
    compile_model(model, settings)
    strategy = model.distribute_strategy
    keeper = _Keeper(model, Path(folder), settings, validate, name)
    state = keeper.restore()
    if not state.stopped:
        extra = (
            []
            if tensorboard_dir is None or not is_chief(strategy)
            else [tf_keras.callbacks.TensorBoard(str(tensorboard_dir), write_graph=False)]
        )
        fit = fit_asynchronously if is_asynchronous(strategy) else fit_in_step
        with together(name):
            fit(
                model,
                batches,
                initial_epoch=state.epoch,
                epochs=settings.epochs,
                callbacks=[keeper, *extra, *callbacks],
            )
    keeper.load_best()
    return keeper.state


class _Keeper(tf_keras.callbacks.Callback):
    """Validates, keeps the best weights, stops early, and checkpoints all of that."""

    def __init__(
        self,
        model: SequenceModel,
        folder: Path,
        settings: TrainSettings,
        validate: Callable[[], float],
        name: str,
    ):
        super().__init__()
        self.model = model
        self.folder = folder
        self.settings = settings
        self.validate = validate
        self.name = name
        self.state = TrainingState()
        self._began = time.monotonic()
        self._text = tf.Variable(json.dumps(asdict(self.state)), dtype=tf.string)
        self._checkpoint = tf.train.Checkpoint(
            model=model, optimizer=model.optimizer, state=self._text
        )
        self.strategy = model.distribute_strategy
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(folder), max_to_keep=2)

    def restore(self) -> TrainingState:
        """Goes back to the newest checkpoint that is whole."""
        paths = list(reversed(self._manager.checkpoints))
        for path in paths:
            try:
                self._checkpoint.restore(path).assert_existing_objects_matched()
                state = TrainingState(**json.loads(self._text.numpy()))
                if state.best_epoch and not self._best_file(state.best_epoch).exists():
                    raise FileNotFoundError(self._best_file(state.best_epoch))
            except _DAMAGE as error:
                _log.warning("checkpoint %s is damaged (%s), trying the one before", path, error)
                continue
            self.state = state
            _log.info("%s: goes on after epoch %d", self.name, state.epoch)
            return state
        if paths:
            raise WorkdirError(
                f"none of its {len(paths)} checkpoints can be read",
                where=self.folder,
                remedy="delete that folder and run again; this training starts anew",
            )
        return self.state

    def load_best(self) -> None:
        """Gives the model the weights of the best epoch."""
        if self.state.best_epoch:
            self.model.load_weights(str(self._best_file(self.state.best_epoch)))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs if logs is not None else {}
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        value = agreed(self.strategy, self.validate)
        # Keras' own log of it adds up what each worker gives for all.
        loss = float(self.model.loss_tracker.result())
        logs.update({self.model.loss_tracker.name: loss, MONITOR: value})
        improved = self.state.record(loss, value, time.monotonic() - self._began)
        waited = self.state.epoch - self.state.best_epoch
        self.state.stopped = (
            waited >= self.settings.patience or self.state.epoch >= self.settings.epochs
        )
        self._save(improved)
        _log.info(
            "%s: epoch %d  loss %.4f  validation NDCG@10 %.4f%s  %.1f s",
            self.name,
            self.state.epoch,
            loss,
            value,
            " (best)" if improved else "",
            self.state.history["seconds"][-1],
        )
        self.model.stop_training = self.state.stopped

    def _best_file(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.weights.h5"

    def _save(self, improved: bool) -> None:
        """The best weights first: the checkpoint that names them must find them."""
        self._text.assign(json.dumps(asdict(self.state)))
        with chiefs_folder(self.strategy, self.folder) as place:
            if improved:
                target = self._best_file(self.state.epoch)
                partial = place / "partial.weights.h5"
                self.model.save_weights(str(partial))
                os.replace(partial, place / target.name)
            manager = self._manager
            if not is_chief(self.strategy):
                manager = tf.train.CheckpointManager(self._checkpoint, str(place), max_to_keep=1)
            manager.save(checkpoint_number=self.state.epoch)
        if is_chief(self.strategy):
            self._drop_old_best()

    def _drop_old_best(self) -> None:
        """Keeps the best weights that either of the two kept checkpoints may name."""
        values = self.state.history[MONITOR]
        needed = {self.state.best_epoch}
        if len(values) > 1:
            earlier = values[:-1]
            needed.add(earlier.index(max(earlier)) + 1)
        for file in self.folder.glob("best-*.weights.h5"):
            if int(file.name.split("-")[1].split(".")[0]) not in needed:
                file.unlink()
