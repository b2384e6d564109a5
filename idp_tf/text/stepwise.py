"""Training for a fixed number of steps, so that a killed run goes on where it was."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from idp_tf.text.progress import progress_bar
from idp_tf.text.saved_state import SavedState

_LOG = logging.getLogger(__name__)

CHECKPOINT_STEPS: Final = 50
"""Steps between checkpoints, which is what a killed run loses at most."""

History = list[dict[str, float]]


class WarmUpThenLinear(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises over the first tenth of the steps and then falls to 0.

    Args:
        peak: The highest rate.
        steps: All steps of the run.
    """

    def __init__(self, peak: float, steps: int):
        self.peak = peak
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        """The rate of a step, counted from 0."""
        done = keras.ops.cast(step, "float32") + 1.0
        rising = max(1.0, self.steps / 10)
        falling = (self.steps + 1.0 - done) / max(1.0, self.steps + 1.0 - rising)
        return self.peak * keras.ops.maximum(0.0, keras.ops.minimum(done / rising, falling))

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {"peak": self.peak, "steps": self.steps}


def seed_dropout(variables: Sequence[Any], seed: int) -> None:
    """Starts dropout's random generators from a seed.

    Args:
        variables: A model's variables; those that are no generator's state stay as they are.
        seed: The seed.
    """
    states = [v for v in variables if v.path.endswith("seed_generator_state")]
    for number, state in enumerate(states):
        start = np.random.SeedSequence([seed, number]).generate_state(1)[0]
        state.assign(np.array([start, 0], np.uint32))


def train_stepwise(
    model: keras.Model,
    dataset: Callable[[int, int], Any],
    steps: int,
    saved: SavedState,
    *,
    name: str,
    description: str,
    tensorboard_dir: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[History, int]:
    """Trains by ``model.fit``; the state is written every 50 steps and at the end.

    The same call after a kill goes on from there, and after the end returns at once.

    Args:
        model: A compiled model.
        dataset: Given the first step and ``steps``, a stream of the batches between them.
        steps: All steps of the run.
        saved: Holds all of the model's and the optimizer's variables.
        name: What TensorBoard's values are filed under.
        description: What the progress bar says.
        tensorboard_dir: Where losses and learning rate are logged; nowhere if ``None``.
        callbacks: Further Keras callbacks.

    Returns:
        The losses of each step, those before a resumption included, and the first step
        of this call.
    """
    about = saved.restore()
    history: History = [] if about is None else about["history"]
    first = len(history)
    if first < steps:
        with progress_bar(description, steps, _LOG) as advance:
            advance(first)
            log = StepLog(history, saved, steps, advance, name, tensorboard_dir)
            model.fit(
                dataset(first, steps),
                steps_per_epoch=steps - first,
                callbacks=[log, *callbacks],
                shuffle=False,
                verbose=0,
            )
    return history, first


class StepLog(keras.callbacks.Callback):
    """Keeps each step's losses, shows progress, writes checkpoints and TensorBoard.

    Args:
        history: Where each step's losses are added.
        saved: Writes the checkpoints.
        steps: All steps of the run.
        advance: Told of each step.
        name: What TensorBoard's values are filed under.
        tensorboard_dir: TensorBoard's folder, if any.
    """

    def __init__(
        self,
        history: History,
        saved: SavedState,
        steps: int,
        advance: Callable[[int], None],
        name: str,
        tensorboard_dir: Path | None,
    ):
        super().__init__()
        self.history = history
        self._saved = saved
        self._steps = steps
        self._advance = advance
        self._name = name
        self._writer = (
            None if tensorboard_dir is None else tf.summary.create_file_writer(str(tensorboard_dir))
        )

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """After each step."""
        losses = {name: float(value) for name, value in (logs or {}).items()}
        # The next step's figures are to be its own, not a running mean.
        self.model.reset_metrics()
        self.history.append(losses)
        self._advance(1)
        step = len(self.history)
        if self._writer is not None:
            rate = float(self.model.optimizer.learning_rate)
            with self._writer.as_default(step=step):
                for name, value in (losses | {"learning_rate": rate}).items():
                    tf.summary.scalar(f"{self._name}/{name}", value)
        if step % CHECKPOINT_STEPS == 0 or step == self._steps:
            self._saved.write({"history": self.history})
            if self._writer is not None:
                self._writer.flush()
