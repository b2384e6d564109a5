"""Two-stage fine-tuning of Recformer (algorithm 1), so that a killed run goes on where it was.

Stage 1 encodes all items anew before each epoch, and trains against their vectors. Stage 2
goes on from the best weights, against the vectors that the items had when those were best.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import keras

from idp_tf.config import RecformerSettings
from idp_tf.data.sequences import Sequences
from idp_tf.errors import WorkdirError
from idp_tf.text.progress import progress_bar
from idp_tf.text.recformer.batches import FineTuningBatches, Rounds
from idp_tf.text.recformer.models import RecformerFineTuning
from idp_tf.text.recformer.optimizer import compile_with_adam, fingerprint
from idp_tf.text.recformer.recommender import Recformer
from idp_tf.text.saved_state import SavedState
from idp_tf.text.stepwise import seed_dropout

_LOG = logging.getLogger(__name__)

CHECKPOINT_FILE: Final = "fine_tuning.npz"
_WHAT: Final = "Recformer's fine-tuning"


@dataclass
class FineTuningState:
    """Where fine-tuning stands; also its result.

    Attributes:
        stage: 1 or 2; 3 once all is done.
        epoch: Epochs finished, of both stages.
        stage_began: Epochs finished when this stage began.
        best_epoch: The epoch (from 1) with the best validation NDCG@10; 0 before any.
        best_value: That NDCG@10.
        history: One value an epoch for each of ``stage``, ``loss``, ``val_ndcg@10`` and
            ``seconds``.
    """

    stage: int = 1
    epoch: int = 0
    stage_began: int = 0
    best_epoch: int = 0
    best_value: float = float("-inf")
    history: dict[str, list[float]] = field(default_factory=dict)

    def record(self, loss: float, value: float, seconds: float) -> bool:
        """Notes one epoch; True if it is the best so far, for which a tie is not enough.

        Args:
            loss: The epoch's mean training loss.
            value: Its validation NDCG@10.
            seconds: How long it took, encoding and validation included.
        """
        self.epoch += 1
        row = {"stage": self.stage, "loss": loss, "val_ndcg@10": value, "seconds": seconds}
        for name, number in row.items():
            self.history.setdefault(name, []).append(float(number))
        if value > self.best_value:
            self.best_epoch, self.best_value = self.epoch, float(value)
            return True
        return False

    def stage_is_over(self, settings: RecformerSettings) -> bool:
        """Whether the stage has had its epochs, or waited too long for a better one."""
        epochs, patience = (
            (settings.stage_1_epochs, settings.stage_1_patience)
            if self.stage == 1
            else (settings.stage_2_epochs, settings.stage_2_patience)
        )
        waited = self.epoch - max(self.best_epoch, self.stage_began)
        return self.epoch - self.stage_began >= epochs or waited >= patience

    def next_stage(self, settings: RecformerSettings) -> None:
        """Goes to the next stage, past a stage 2 of no epochs."""
        self.stage = 3 if self.stage == 2 or settings.stage_2_epochs == 0 else 2
        self.stage_began = self.epoch


def fine_tune_recformer(
    recformer: Recformer,
    histories: Sequences,
    settings: RecformerSettings,
    seed: int,
    folder: Path,
    *,
    validate: Callable[[], float],
) -> FineTuningState:
    """Fine-tunes ``recformer`` in place; it ends with the best weights and item vectors.

    In each epoch every user has one of the items after the first told from those before
    (the official code also asks for the first, from nothing). Adam and its rate go on from
    stage to stage. The state is written to ``folder`` after each epoch: the same call after
    a kill goes on from there, and after the end returns at once.

    Args:
        recformer: On the target's catalogue, with a pre-trained encoder.
        histories: Training histories: ``sequences.truncated(LEAVE_OUT_TRAIN)``.
        settings: Epochs and patience of both stages, batch size, learning rate, temperature.
        seed: Seed of the batches and dropout.
        folder: Where the state and the best weights are kept.
        validate: Gives the validation NDCG@10 of ``recformer`` as it is.

    Raises:
        SettingsError: if there is nothing to learn from.
        WorkdirError: if the state in ``folder`` is damaged, or another run's.

    Reference: algorithm 1 of Li et al. 2023, "Text Is All You Need".
    """
    tuning = _FineTuning(recformer, histories, settings, seed, Path(folder))
    tuning.restore()
    while tuning.state.stage < 3:
        tuning.run_epoch(validate)
    return tuning.state


class _FineTuning:
    """The model in training, and all of its state."""

    def __init__(
        self,
        recformer: Recformer,
        histories: Sequences,
        settings: RecformerSettings,
        seed: int,
        folder: Path,
    ):
        self.state = FineTuningState()
        self.recformer = recformer
        self._settings = settings
        self._folder = folder
        encoder, sentences = recformer.encoder, recformer.sentences
        self._fingerprint = fingerprint(
            encoder, sentences, histories, settings.of_fine_tuning(), seed
        )
        rounds = Rounds(sentences, histories, settings.batch_size, seed, late_half=False)
        self._batches = FineTuningBatches(rounds, sentences)
        self._model = RecformerFineTuning(encoder, recformer.num_items, settings.temperature)
        epochs = settings.stage_1_epochs + settings.stage_2_epochs
        compile_with_adam(self._model, settings.learning_rate, epochs * rounds.num_batches)
        seed_dropout(encoder.variables, seed)
        self._saved = self._file(
            CHECKPOINT_FILE,
            [*encoder.variables, self._model.item_table, *self._model.optimizer.variables],
        )

    def _file(self, name: str, variables: list[Any]) -> SavedState:
        return SavedState(self._folder / name, variables, self._fingerprint, _WHAT)

    def _best(self, epoch: int) -> SavedState:
        """Weights and item vectors as they were best; dropout and Adam go on as they are."""
        model = self._model
        return self._file(_best_name(epoch), [*model.encoder.weights, model.item_table])

    def restore(self) -> None:
        """Goes back to the last finished epoch, if any."""
        about = self._saved.restore()
        if about is not None:
            self.state = FineTuningState(**about)
            self.recformer.set_item_vectors(self._model.item_table)
            _LOG.info("Recformer: goes on after epoch %d", self.state.epoch)

    def run_epoch(self, validate: Callable[[], float]) -> None:
        """One epoch; the best weights are written before the state that names them."""
        begun, state = time.monotonic(), self.state
        if state.stage == 1:
            self.recformer.encode_items()
            self._model.item_table.assign(self.recformer.item_vectors()[1:])
        loss, value = self._fit(), validate()
        _LOG.info(
            "Recformer, stage %d: epoch %d  loss %.4f  validation NDCG@10 %.4f",
            *(state.stage, state.epoch + 1, loss, value),
        )
        if state.record(loss, value, time.monotonic() - begun):
            self._best(state.epoch).write({})
        if state.stage_is_over(self._settings):
            self._take_best()
            state.next_stage(self._settings)
        self._saved.write(asdict(state))
        for file in self._folder.glob(_best_name("*")):
            if file.name != _best_name(state.best_epoch):
                file.unlink()

    def _fit(self) -> float:
        """The epoch's mean loss."""
        steps, number = self._batches.num_batches, self.state.epoch
        description = f"Fine-tuning Recformer, stage {self.state.stage}, epoch {number + 1}"
        with progress_bar(description, steps, _LOG) as advance:

            def each(batch: int, logs: dict[str, Any] | None = None) -> None:
                advance(1)

            fitted = self._model.fit(
                self._batches.dataset(number),
                steps_per_epoch=steps,
                callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=each)],
                shuffle=False,
                verbose=0,
            )
        return float(fitted.history["loss"][0])

    def _take_best(self) -> None:
        if self._best(self.state.best_epoch).restore() is None:
            raise WorkdirError(
                f"the best weights of {_WHAT} are gone",
                where=self._folder / _best_name(self.state.best_epoch),
                remedy="delete the folder to train from the start",
            )
        self.recformer.set_item_vectors(self._model.item_table)


def _best_name(epoch: int | str) -> str:
    return f"best-{epoch}.npz"
