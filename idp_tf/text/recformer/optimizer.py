"""What both trainings of Recformer share: their optimizer, and what a state stands for."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import keras
import numpy as np

from idp_tf.data.sequences import Sequences
from idp_tf.text.recformer.encoder import RecformerEncoder
from idp_tf.text.recformer.sentences import ItemSentences
from idp_tf.text.stepwise import WarmUpThenLinear

_CLIP_NORM: Final = 1.0


def compile_with_adam(model: keras.Model, learning_rate: float, steps: int) -> None:
    """Compiles a model with Adam, warm-up over a tenth of the steps, then linear decay.

    Args:
        model: A built model.
        learning_rate: The highest rate.
        steps: All steps that may come.
    """
    optimizer = keras.optimizers.Adam(
        WarmUpThenLinear(learning_rate, steps), global_clipnorm=_CLIP_NORM
    )
    optimizer.build(model.trainable_variables)
    # XLA would compile anew for every length of sentences.
    model.compile(optimizer=optimizer, jit_compile=False)


def fingerprint(
    encoder: RecformerEncoder,
    sentences: ItemSentences,
    histories: Sequences,
    settings: dict[str, Any],
    seed: int,
) -> str:
    """A hash of all that decides how a training goes: weights, items, histories, settings.

    Args:
        encoder: As training takes it up.
        sentences: The catalogue.
        histories: Training histories.
        settings: Those of this training, as JSON takes them.
        seed: The seed.
    """
    about = [settings, seed, encoder.settings()]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    arrays: list[Any] = [
        *(sentences.values, sentences.offsets),
        *(histories.values, histories.offsets),
        *encoder.weights,
    ]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
