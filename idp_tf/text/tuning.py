"""Tuning the matcher (sections 2.4.1 and 2.4.2), so that a killed run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from idp_tf.config import MatcherSettings
from idp_tf.errors import WorkdirError
from idp_tf.text.batches import TuningBatches, choose_items, hold_out
from idp_tf.text.encoder import TextEncoder
from idp_tf.text.matcher import MatcherModel, WarmUpThenLinear
from idp_tf.text.progress import progress_bar

_LOG = logging.getLogger(__name__)

CHECKPOINT_STEPS: Final = 50
"""Steps between checkpoints, which is what a killed run loses at most."""

CHECKPOINT_FILE: Final = "tuning.npz"
_WEIGHT_DECAY: Final = 0.01
_CLIP_NORM: Final = 1.0


@dataclass(frozen=True)
class TuningResult:
    """What came of tuning.

    Args:
        history: For each step its ``text_loss`` (eq. 5), ``behaviour_loss`` (eq. 6),
            ``distillation_loss`` and their weighted sum, ``loss``, those before a resumption
            included.
        held_out: Rows of the items that were never seen.
        num_anchors: How many items served as anchors.
        resumed_at: The step at which this call took up the work; 0 from the start.
        seconds: How long this call took.
    """

    history: tuple[dict[str, float], ...]
    held_out: npt.NDArray[np.int64]
    num_anchors: int
    resumed_at: int
    seconds: float


def tune_matcher(
    encoder: TextEncoder,
    titles: Sequence[str],
    neighbours: npt.NDArray[np.int32],
    settings: MatcherSettings,
    seed: int,
    folder: Path,
    tensorboard_dir: Path | None = None,
    item_offsets: npt.ArrayLike | None = None,
    untuned: npt.NDArray[np.float32] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> TuningResult:
    """Tunes ``encoder`` in place with eq. 7, and near its untuned self if so set.

    AdamW with warm-up over a tenth of the steps and linear decay; gradients flow through
    the pooled vectors. The state is written to ``folder`` every 50 steps and at the end:
    the same call after a kill goes on from there, and after the end returns at once.

    Args:
        encoder: The encoder; with ``settings.steps == 0`` it stays as it is.
        titles: Titles of all source items.
        neighbours: From ``behaviour_neighbours``, shape (n, k).
        settings: Steps, batch size, temperature, distillation, learning rate, share held out.
        seed: Seed of the held-out items, the batches and dropout.
        folder: Where the state is kept.
        item_offsets: Domains' bounds, if batches are to be of one domain each; in-batch
            negatives then teach nothing about other domains.
        tensorboard_dir: Where losses and learning rate are logged; nowhere if ``None``.
        untuned: The titles' vectors by ``encoder`` as it comes, shape (n, width), if they
            are at hand; encoded here if not.
        callbacks: Further Keras callbacks.

    Raises:
        SettingsError: if there is nothing to tune on.
        WorkdirError: if the state in ``folder`` is damaged, or another run's.
    """
    begun = time.monotonic()
    held_out = hold_out(len(titles), settings.held_out, seed)
    if settings.steps == 0:
        return TuningResult((), held_out, 0, 0, 0.0)
    items = choose_items(titles, neighbours, held_out, settings.max_items, seed, item_offsets)
    if untuned is None:
        untuned = encoder.encode(titles)
    tokens = encoder.packer.tokenise(titles)
    batches = TuningBatches(items, tokens, untuned, settings.batch_size, seed)
    state = _State(
        _build_model(encoder, settings, seed),
        folder / CHECKPOINT_FILE,
        _fingerprint(encoder, titles, neighbours, settings, seed, item_offsets),
    )
    first = state.restore()
    if first < settings.steps:
        with progress_bar("Tuning the matcher", settings.steps, _LOG) as advance:
            advance(first)
            state.model.fit(
                batches.dataset(first, settings.steps),
                steps_per_epoch=settings.steps - first,
                callbacks=[_Log(state, settings.steps, advance, tensorboard_dir), *callbacks],
                shuffle=False,
                verbose=0,
            )
    return TuningResult(
        tuple(state.history), held_out, len(items.anchors), first, time.monotonic() - begun
    )


def _build_model(encoder: TextEncoder, settings: MatcherSettings, seed: int) -> MatcherModel:
    model = MatcherModel(encoder, settings.temperature, settings.distillation)
    optimizer = keras.optimizers.AdamW(
        WarmUpThenLinear(settings.learning_rate, settings.steps),
        weight_decay=_WEIGHT_DECAY,
        global_clipnorm=_CLIP_NORM,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(model.trainable_variables)
    # XLA is slower on a CPU, and would compile anew for every length of titles.
    model.compile(optimizer=optimizer, jit_compile=False)
    for number, state in enumerate(_dropout_states(model)):
        start = np.random.SeedSequence([seed, number]).generate_state(1)[0]
        state.assign(np.array([start, 0], np.uint32))
    return model


def _dropout_states(model: MatcherModel) -> list[Any]:
    return [v for v in model.backbone.variables if v.path.endswith("seed_generator_state")]


class _State:
    """All that decides how a run goes on: weights, optimizer, dropout's generators, step."""

    def __init__(self, model: MatcherModel, file: Path, fingerprint: str):
        self.model = model
        self.history: list[dict[str, float]] = []
        self._file = file
        self._fingerprint = fingerprint

    @property
    def _variables(self) -> list[Any]:
        return [*self.model.backbone.variables, *self.model.optimizer.variables]

    def write(self) -> None:
        """Writes the state; the file is replaced whole or not at all."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        about = {"fingerprint": self._fingerprint, "history": self.history}
        arrays: dict[str, Any] = {f"v{i}": np.asarray(v) for i, v in enumerate(self._variables)}
        fresh = self._file.with_name(self._file.name + ".tmp")
        with fresh.open("wb") as stream:
            np.savez(stream, about=np.array(json.dumps(about)), **arrays)
        os.replace(fresh, self._file)

    def restore(self) -> int:
        """Reads what an earlier call wrote, if anything.

        Returns:
            The first step that is still to do.
        """
        if not self._file.exists():
            return 0
        try:
            with np.load(self._file) as stored:
                about = json.loads(str(stored["about"]))
                arrays = [stored[f"v{i}"] for i in range(len(self._variables))]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise WorkdirError(
                f"the state of the matcher's tuning cannot be read: {error}",
                where=self._file,
                remedy="delete the file to tune from the start",
            ) from error
        if about["fingerprint"] != self._fingerprint:
            raise WorkdirError(
                "the state of the matcher's tuning belongs to other data or settings",
                where=self._file,
                remedy="delete the file, or use another workdir",
            )
        for variable, array in zip(self._variables, arrays, strict=True):
            variable.assign(array)
        self.history = about["history"]
        return len(self.history)


class _Log(keras.callbacks.Callback):
    """Keeps each step's losses, shows progress, writes checkpoints and TensorBoard."""

    def __init__(self, state: _State, steps: int, advance: Any, tensorboard_dir: Path | None):
        super().__init__()
        self._state = state
        self._steps = steps
        self._advance = advance
        self._writer = (
            None if tensorboard_dir is None else tf.summary.create_file_writer(str(tensorboard_dir))
        )

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """After each step."""
        losses = {name: float(value) for name, value in (logs or {}).items()}
        # The next step's figures are to be its own, not a running mean.
        self.model.reset_metrics()
        self._state.history.append(losses)
        self._advance(1)
        step = len(self._state.history)
        if self._writer is not None:
            with self._writer.as_default(step=step):
                for name, value in losses.items():
                    tf.summary.scalar(f"matcher/{name}", value)
                tf.summary.scalar(
                    "matcher/learning_rate", float(self.model.optimizer.learning_rate)
                )
        if step % CHECKPOINT_STEPS == 0 or step == self._steps:
            self._state.write()
            if self._writer is not None:
                self._writer.flush()


def _fingerprint(
    encoder: TextEncoder,
    titles: Sequence[str],
    neighbours: npt.NDArray[np.int32],
    settings: MatcherSettings,
    seed: int,
    item_offsets: npt.ArrayLike | None,
) -> str:
    bounds = None if item_offsets is None else np.asarray(item_offsets).tolist()
    about = [encoder.fingerprint(titles), settings.model_dump(), seed, bounds]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(neighbours).tobytes())
    return digest.hexdigest()[:16]
