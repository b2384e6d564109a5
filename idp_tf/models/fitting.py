"""Epochs of training steps, as a model's strategy takes them: in step, or asynchronously."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import tensorflow as tf
import tf_keras

from idp_tf.data.batches import TrainingBatches
from idp_tf.models.base import SequenceModel

# Steps dealt out before all are waited for: bounds the batches that wait in memory.
_DEALT_AT_ONCE: Final = 256


def fit_in_step(
    model: SequenceModel,
    batches: TrainingBatches,
    *,
    initial_epoch: int,
    epochs: int,
    callbacks: list[tf_keras.callbacks.Callback],
) -> None:
    """``model.fit``, where the replicas of a synchronous strategy share each batch.

    Args:
        model: Compiled, and made under its strategy's scope.
        batches: Training batches; every worker makes them all and takes its share.
        initial_epoch: The epoch with which to begin.
        epochs: The epoch before which to end, unless a callback stops sooner.
        callbacks: As for ``model.fit``.
    """
    strategy = model.distribute_strategy
    total = strategy.num_replicas_in_sync

    def feed(place: tf.distribute.InputContext) -> tf.data.Dataset:
        share = total // place.num_input_pipelines
        first = place.input_pipeline_id * share
        return batches.dataset(
            initial_epoch, replicas=range(first, first + share), num_replicas=total
        )

    model.fit(
        batches.dataset(initial_epoch)
        if total == 1
        else strategy.distribute_datasets_from_function(feed),
        steps_per_epoch=batches.steps_per_epoch,
        initial_epoch=initial_epoch,
        epochs=epochs,
        verbose=0,
        callbacks=callbacks,
    )


def fit_asynchronously(
    model: SequenceModel,
    batches: TrainingBatches,
    *,
    initial_epoch: int,
    epochs: int,
    callbacks: list[tf_keras.callbacks.Callback],
) -> None:
    """What ``model.fit`` does, over the workers of a ``ParameterServerStrategy``.

    ``model.fit`` cannot be fed by a Python generator on remote workers, whose processes do
    not know it. Here the coordinator makes the batches, each once an epoch as in one process,
    and sends them along with the step; a step whose worker has died is dealt out again.

    Args:
        model: Compiled, and made under the strategy's scope.
        batches: Training batches.
        initial_epoch: The epoch with which to begin.
        epochs: The epoch before which to end, unless a callback stops sooner.
        callbacks: Told of epochs, and of the training's begin and end.
    """
    coordinator = tf.distribute.coordinator.ClusterCoordinator(model.distribute_strategy)
    told = tf_keras.callbacks.CallbackList(callbacks, model=model)
    step = _build_step(model, batches.signature())
    model.stop_training = False
    told.on_train_begin()
    for epoch in range(initial_epoch, epochs):
        model.loss_tracker.reset_state()
        told.on_epoch_begin(epoch)
        for number, batch in enumerate(batches.epoch(epoch), 1):
            coordinator.schedule(step, args=(batch,))
            if number % _DEALT_AT_ONCE == 0:
                coordinator.join()
        coordinator.join()
        told.on_epoch_end(epoch)
        if model.stop_training:
            break
    told.on_train_end()


def _build_step(model: SequenceModel, signature: dict[str, tf.TensorSpec]) -> Callable[[Any], None]:
    @tf.function(input_signature=[signature])
    def step(batch: dict[str, tf.Tensor]) -> None:
        model.distribute_strategy.run(model.train_step, args=(batch,))

    return step
