"""Tuning the matcher (sections 2.4.1 and 2.4.2), so that a killed run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
import numpy.typing as npt

from idp_tf.config import MatcherSettings
from idp_tf.text.batches import TuningBatches, choose_items, hold_out
from idp_tf.text.encoder import TextEncoder
from idp_tf.text.matcher import MatcherModel
from idp_tf.text.saved_state import SavedState
from idp_tf.text.stepwise import WarmUpThenLinear, seed_dropout, train_stepwise

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
    the same call after a kill goes on from there, and after the end trains no further.

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
    model = _build_model(encoder, settings, seed)
    saved = SavedState(
        folder / CHECKPOINT_FILE,
        [*model.backbone.variables, *model.optimizer.variables],
        _fingerprint(encoder, titles, neighbours, settings, seed, item_offsets),
        "the matcher's tuning",
    )
    history, first = train_stepwise(
        model,
        batches.dataset,
        settings.steps,
        saved,
        name="matcher",
        description="Tuning the matcher",
        tensorboard_dir=tensorboard_dir,
        callbacks=callbacks,
    )
    return TuningResult(
        tuple(history), held_out, len(items.anchors), first, time.monotonic() - begun
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
    seed_dropout(model.backbone.variables, seed)
    return model


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
