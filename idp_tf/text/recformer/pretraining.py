"""Pre-training Recformer: item-item contrast and masked language modelling."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from idp_tf.config import RecformerSettings
from idp_tf.data.sequences import Sequences
from idp_tf.text.recformer.batches import PretrainingBatches, Rounds
from idp_tf.text.recformer.encoder import RecformerEncoder
from idp_tf.text.recformer.masking import WordMasker
from idp_tf.text.recformer.models import RecformerPretraining
from idp_tf.text.recformer.optimizer import compile_with_adam, fingerprint
from idp_tf.text.saved_state import SavedState
from idp_tf.text.stepwise import seed_dropout, train_stepwise

CHECKPOINT_FILE: Final = "pretraining.npz"


@dataclass(frozen=True)
class PretrainingResult:
    """What came of pre-training.

    Args:
        history: For each step its ``contrastive_loss``, ``word_loss`` and their weighted
            sum, ``loss``, those before a resumption included.
        num_sequences: How many histories were learned from.
        resumed_at: The step at which this call took up the work; 0 from the start.
        seconds: How long this call took.
    """

    history: tuple[dict[str, float], ...]
    num_sequences: int
    resumed_at: int
    seconds: float


def pretrain_recformer(
    encoder: RecformerEncoder,
    titles: Sequence[str],
    histories: Sequences,
    settings: RecformerSettings,
    seed: int,
    folder: Path,
    *,
    tensorboard_dir: Path | None = None,
) -> PretrainingResult:
    """Pre-trains ``encoder`` in place on the source domains' histories.

    Adam with warm-up over a tenth of the steps and linear decay. The state is written to
    ``folder`` every 50 steps and at the end: the same call after a kill goes on from there,
    and after the end returns at once with the encoder as it was.

    Args:
        encoder: From ``build_recformer_encoder``; with no steps it stays as it is.
        titles: ``titles[i]`` is that of item id i + 1, of all domains.
        histories: Training histories: ``sequences.truncated(LEAVE_OUT_TRAIN)``.
        settings: Sequences, steps, batch size, learning rate, temperature, weight.
        seed: Seed of the sample, the batches, what is hidden, and dropout.
        folder: Where the state is kept.
        tensorboard_dir: Where losses and learning rate are logged; nowhere if ``None``.

    Raises:
        SettingsError: if there is nothing to learn from.
        WorkdirError: if the state in ``folder`` is damaged, or another run's.
    """
    begun = time.monotonic()
    if settings.pretrain_steps == 0:
        return PretrainingResult((), 0, 0, 0.0)
    sentences = encoder.tokenise(titles)
    rounds = Rounds(
        sentences,
        histories,
        settings.pretrain_batch_size,
        seed,
        late_half=True,
        max_histories=settings.pretrain_sequences,
    )
    masker = WordMasker.of(encoder.tokenizer)
    own = fingerprint(encoder, sentences, histories, settings.of_pretraining(), seed)
    model = RecformerPretraining(encoder, settings.temperature, settings.mlm_weight, seed)
    compile_with_adam(model, settings.pretrain_learning_rate, settings.pretrain_steps)
    seed_dropout(encoder.variables, seed)
    variables = [*model.encoder.variables, *model.head.variables, model.bias]
    history, first = train_stepwise(
        model,
        PretrainingBatches(rounds, sentences, masker, seed).dataset,
        settings.pretrain_steps,
        SavedState(
            folder / CHECKPOINT_FILE,
            [*variables, *model.optimizer.variables],
            own,
            "Recformer's pre-training",
        ),
        name="recformer",
        description="Pre-training Recformer",
        tensorboard_dir=tensorboard_dir,
    )
    return PretrainingResult(tuple(history), rounds.num_histories, first, time.monotonic() - begun)
