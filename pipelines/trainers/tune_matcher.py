"""Tunes the Cross-domain ID Matcher's text encoder (sections 2.4.1 and 2.4.2).

``custom_config`` (``idp_tf.workflow.trainer_modules.TrainerConfig``): ``domains`` (the sources, in
the order of the examples), ``pretrained`` (where ``pretrain`` left its model, from whose item
embeddings behaviour is learned) and ``settings``, of which ``seed`` and ``matcher`` are read.
``base_model`` is refused: tuning begins with the encoder that settings name. Leaves a SavedModel
that turns serialized tf.Examples of items into vectors of their titles, for ``RunInference``. A
tuning that was killed goes on at its last checkpoint in ``model_run_dir``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

from idp_tf.data.domain import MergedDomains
from idp_tf.data.examples import TITLE
from idp_tf.errors import DataError, SettingsError
from idp_tf.text import TextEncoder, build_text_encoder, tune_matcher
from idp_tf.text.bert import TitleVectors
from idp_tf.transfer.generate import find_untitled
from idp_tf.workflow.known_items import find_known_items
from idp_tf.workflow.match import find_neighbours
from idp_tf.workflow.trainer_modules import (
    ENCODER,
    TrainerConfig,
    extra_folder,
    item_table,
    load_trained,
    place,
    read_config,
    read_domains,
    refuse_base_model,
)
from serving.export.saving import Signature, write_saved_model
from serving.saved_models import SERVING_DEFAULT

EXAMPLES: Final = "examples"
EMBEDDING: Final = "embedding"
_NAME: Final = "text_encoder"


def run_fn(fn_args: Any) -> None:
    """Tunes, and writes ``serving_model_dir``.

    Args:
        fn_args: TFX's ``FnArgs``; ``train_steps``, if set, stands for ``matcher.steps``.

    Raises:
        SettingsError: if ``custom_config`` is wrong, or ``pretrained`` is not given.
        MissingDataError: if there is no pre-trained model.
        DataError: if the files are not a domain's, or the pre-trained model is of other items.
    """
    config = read_config(fn_args)
    refuse_base_model(fn_args)
    pretrained, items = _pretrained(config)
    merged = MergedDomains.of(read_domains(fn_args, config))
    if not items.equals(item_table(merged).drop("title")):
        raise DataError(
            f"it was trained on {items.height} items, which are not the {merged.num_items} here",
            where=config.pretrained,
            remedy="pre-train on the same examples",
        )
    settings = config.settings.matcher
    if fn_args.train_steps:
        settings = settings.model_copy(update={"steps": fn_args.train_steps})
    known = find_known_items(merged, settings)
    neighbours = find_neighbours(pretrained, known, settings)
    encoder = build_text_encoder(
        settings.encoder, settings.pooling, settings.title_length, settings.kept_layers
    )
    work = Path(fn_args.model_run_dir)
    untuned = encoder.encode(
        merged.titles, resume_dir=work / "untuned", description="Titles, untuned encoder"
    )
    untuned[find_untitled(merged.titles)] = 0
    tuning = tune_matcher(
        encoder,
        merged.titles,
        known.spread(neighbours, merged.num_items),
        settings,
        seed=config.settings.seed,
        folder=work / "tuning",
        tensorboard_dir=work / "logs",
        item_offsets=merged.item_offsets if settings.neighbour_scope == "domain" else None,
        untuned=untuned,
    )
    version = export_encoder(encoder, work / "export")
    told = {
        "items": merged.num_items,
        "tuned_items": tuning.num_anchors,
        "history": list(tuning.history),
    }
    encoder.save(extra_folder(version, item_table(merged), told) / ENCODER)
    place(version, fn_args.serving_model_dir)


def export_encoder(encoder: TextEncoder, folder: Path) -> Path:
    """Writes an encoder as a SavedModel that reads serialized tf.Examples; the version's folder.

    The signature ``serving_default`` takes ``examples`` (batch,), of which it reads the feature
    ``title``, and gives ``embedding`` (batch, width). An Example without a title counts as one
    with an empty title.
    """
    example = tf.train.Example()
    example.features.feature[TITLE].bytes_list.value.append(b"Acoustic guitar strings")
    signature = Signature(
        function=_encode(encoder.title_layer()),
        inputs=(tf.TensorSpec((None,), tf.string, name=EXAMPLES),),
        about="Vectors of the titles of items, each a serialized tf.Example with `title`.",
        row={EXAMPLES: np.array([example.SerializeToString()], object)},
    )
    return write_saved_model(
        folder / _NAME,
        {SERVING_DEFAULT: signature},
        about="The matcher's text encoder: titles in, vectors of length 1 out.",
        notes={"encoder": encoder.fingerprint(), "title_length": encoder.title_length},
    )


def _encode(layer: TitleVectors) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    features = {TITLE: tf.io.FixedLenFeature((), tf.string, "")}

    def encode(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {EMBEDDING: layer(tf.io.parse_example(examples, features)[TITLE])}

    return encode


def _pretrained(config: TrainerConfig) -> Any:
    """The model and the table of its items."""
    if config.pretrained is None:
        raise SettingsError(
            "it is not given, and neighbours are those of its items",
            where="custom_config.pretrained",
            remedy="give the serving_model_dir of the pre-training",
        )
    return load_trained(config.pretrained)
