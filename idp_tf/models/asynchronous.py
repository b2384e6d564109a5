"""Asynchronous training: a coordinator deals batches out to workers, tables lie on servers.

``model.fit`` cannot be fed by a Python generator on remote workers, whose processes do not
know it. Here the coordinator makes the batches, each once an epoch as in one process, and
sends them along with the step; a step whose worker has died is dealt out again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import tensorflow as tf
import tf_keras

from idp_tf.data.batches import FIELDS, TrainingBatches
from idp_tf.models.base import SequenceModel

# Steps dealt out before all are waited for: bounds the batches that wait in memory.
_DEALT_AT_ONCE: Final = 256


def fit_asynchronously(
    model: SequenceModel,
    batches: TrainingBatches,
    *,
    initial_epoch: int,
    epochs: int,
    callbacks: list[tf_keras.callbacks.Callback],
) -> None:
    """What ``model.fit`` does, over the workers of a ``ParameterServerStrategy``.

    Args:
        model: Compiled, and made under the strategy's scope.
        batches: Training batches.
        initial_epoch: The epoch with which to begin.
        epochs: The epoch before which to end, unless a callback stops sooner.
        callbacks: Told of epochs, and of the training's begin and end.
    """
    coordinator = tf.distribute.coordinator.ClusterCoordinator(model.distribute_strategy)
    told = tf_keras.callbacks.CallbackList(callbacks, model=model)
    step = _build_step(model)
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


def _build_step(model: SequenceModel) -> Callable[[Any], None]:
    spec = tf.TensorSpec([None, None], tf.int32)

    @tf.function(input_signature=[dict.fromkeys(FIELDS, spec)])
    def step(batch: dict[str, tf.Tensor]) -> None:
        model.distribute_strategy.run(model.train_step, args=(batch,))

    return step
