"""The language model of Recformer, built on any BERT that the matcher takes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import keras
import keras_hub
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from idp_tf.config import RecformerSettings
from idp_tf.errors import MissingDataError, SettingsError
from idp_tf.text.bert import Pooling, pool
from idp_tf.text.encoding import plan_batches
from idp_tf.text.folders import whole_folder
from idp_tf.text.progress import progress_bar
from idp_tf.text.recformer.attention import windowed_layer
from idp_tf.text.recformer.sentences import NUM_TYPES, ItemSentences, tokenise_items
from idp_tf.text.sources import keep_layers, load_bert

_LOG = logging.getLogger(__name__)

_SETTINGS_FILE: Final = "recformer_encoder.json"
_TABLES_FILE: Final = "recformer_tables.npz"
_INITIAL_DEVIATION: Final = 0.02
_BATCHES_AT_ONCE: Final = 2
_WINDOWS_TO_COMPARE_ALL: Final = 4
"""So many windows long, attention to all costs no more than in blocks (32 to 512 positions)."""

Float32Array = npt.NDArray[np.float32]


class RecformerEncoder(keras.layers.Layer):
    """Sentences of items to states and vectors.

    Word, token position, token type and item position embeddings are summed and normalised,
    then go through the BERT's layers with windowed attention. Each token type starts as the
    BERT's first segment, as the official code has it (it copies Longformer's only type onto
    all); item positions start as normal numbers of deviation 0.02.

    Args:
        backbone: A ``keras_hub.models.BertBackbone``; its weights are trained with the rest.
        tokenizer: The ``keras_hub.models.BertTokenizer`` that goes with it.
        max_items: Most items of a history that are read, the latest.
        title_tokens: Most word pieces of an item, the key's included.
        max_tokens: Most word pieces of a history, ``[CLS]`` included.
        window: How many positions a position attends to, half of them to either side.
        pooling: ``cls`` (the paper's) or ``mean`` (``avg`` of the official code, which counts
            ``[CLS]`` twice; here it counts once).
        seed: Seed of the item positions.

    Raises:
        SettingsError: if the BERT has fewer positions than ``max_tokens``.

    Reference: Li et al. 2023, "Text Is All You Need", https://arxiv.org/abs/2305.13731;
        ``recformer/models.py`` of https://github.com/AaronHeee/RecFormer.
    """

    def __init__(
        self,
        backbone: Any,
        tokenizer: Any,
        *,
        max_items: int,
        title_tokens: int,
        max_tokens: int,
        window: int,
        pooling: Pooling,
        seed: int = 0,
    ):
        super().__init__(dtype="float32", name="recformer_encoder")
        if max_tokens > backbone.max_sequence_length:
            raise SettingsError(
                f"max_tokens is {max_tokens}, but the encoder has "
                f"{backbone.max_sequence_length} positions",
                where="recformer.max_tokens",
                remedy="lower it, or choose another encoder",
            )
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.max_items = max_items
        self.title_tokens = title_tokens
        self.max_tokens = max_tokens
        self.window = window
        self.pooling: Pooling = pooling
        # Recformer reads neither: it has token types, and pools states as they are.
        backbone.pooled_dense.trainable = backbone.segment_embedding.trainable = False
        self.token_types = keras.layers.Embedding(NUM_TYPES, self.width)
        self.token_types.build()
        segment = np.asarray(backbone.segment_embedding.embeddings)[:1]
        self.token_types.set_weights([np.repeat(segment, NUM_TYPES, axis=0)])
        self.item_positions = keras.layers.Embedding(
            max_items + 1,
            self.width,
            embeddings_initializer=keras.initializers.RandomNormal(
                stddev=_INITIAL_DEVIATION, seed=seed
            ),
        )
        self.item_positions.build()
        self.built = True
        spec = tf.TensorSpec((None, None), tf.int32)
        names = ("token_ids", "token_types", "item_positions", "padding_mask")
        self._compiled = tf.function(
            self.vectors, input_signature=[dict.fromkeys(names, spec)], autograph=False
        )

    @property
    def width(self) -> int:
        """The length of a vector."""
        return int(self.backbone.hidden_dim)

    def embed(self, sentences: dict[str, Any], training: bool = False) -> Any:
        """What the first layer reads, shape (batch, length, width).

        Args:
            sentences: From ``ItemSentences.pack``.
            training: Whether dropout is on.
        """
        words = self.backbone.token_embedding(sentences["token_ids"])
        total = (
            words
            + self.backbone.position_embedding(words)
            + self.token_types(sentences["token_types"])
            + self.item_positions(sentences["item_positions"])
        )
        normalised = self.backbone.embeddings_layer_norm(total)
        return self.backbone.embeddings_dropout(normalised, training=training)

    def states(self, sentences: dict[str, Any], training: bool = False) -> Any:
        """The last layer's states, shape (batch, length, width); see ``embed``."""
        return self._run(sentences, training, first_only=False)

    def vectors(self, sentences: dict[str, Any], training: bool = False) -> Any:
        """The last layer's states pooled and L2-normalised, (batch, width); see ``embed``."""
        states = self._run(sentences, training, first_only=self.pooling == "cls")
        return ops.normalize(pool(states, sentences["padding_mask"], self.pooling), axis=-1)

    def _run(self, sentences: dict[str, Any], training: bool, first_only: bool) -> Any:
        states, mask = self.embed(sentences, training), sentences["padding_mask"]
        *layers, last = self.backbone.transformer_layers
        half = self.window // 2
        in_blocks = self.max_tokens > _WINDOWS_TO_COMPARE_ALL * self.window
        for layer in layers:
            states = windowed_layer(layer, states, mask, half, training, in_blocks=in_blocks)
        return windowed_layer(last, states, mask, half, training, first_only, in_blocks)

    def tokenise(self, titles: Sequence[str]) -> ItemSentences:
        """The sentences of a catalogue; ``titles[i]`` is that of item id i + 1.

        Raises:
            SettingsError: if ``title_tokens`` leaves no place for a title.
        """
        return tokenise_items(
            self.tokenizer,
            titles,
            max_items=self.max_items,
            title_tokens=self.title_tokens,
            max_tokens=self.max_tokens,
        )

    def encode(
        self, sentences: ItemSentences, item_ids: npt.ArrayLike, description: str | None = None
    ) -> Float32Array:
        """Vectors of many histories, in batches of one length, so that nothing is padded.

        Args:
            sentences: The catalogue.
            item_ids: Shape (batch, any length), oldest first, left-padded with 0.
            description: What a progress bar says; ``None`` shows none.

        Returns:
            Shape (batch, width), rows of length 1.
        """
        item_ids = np.asarray(item_ids, np.int32)
        vectors = np.zeros((len(item_ids), self.width), np.float32)

        def encode_batch(rows: npt.NDArray[np.int64]) -> int:
            vectors[rows] = self._compiled(sentences.pack(item_ids[rows])).numpy()
            return len(rows)

        bar = (
            nullcontext(lambda amount: None)
            if description is None
            else progress_bar(description, len(item_ids), _LOG)
        )
        with bar as advance, ThreadPoolExecutor(_BATCHES_AT_ONCE) as pool:
            for done in pool.map(encode_batch, plan_batches(sentences.lengths(item_ids))):
                advance(done)
        return vectors

    def save(self, folder: Path) -> None:
        """Writes weights, vocabulary and settings; the folder appears whole or not at all."""
        with whole_folder(Path(folder)) as fresh:
            self.backbone.save_to_preset(str(fresh))
            self.tokenizer.save_to_preset(str(fresh))
            tables = [layer.get_weights()[0] for layer in (self.token_types, self.item_positions)]
            np.savez(fresh / _TABLES_FILE, token_types=tables[0], item_positions=tables[1])
            (fresh / _SETTINGS_FILE).write_text(json.dumps(self.settings(), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> RecformerEncoder:
        """Reads what ``save`` wrote.

        Raises:
            MissingDataError: if the folder holds no saved encoder.
        """
        file = Path(folder) / _SETTINGS_FILE
        if not file.is_file():
            raise MissingDataError(
                "no saved Recformer encoder is here",
                where=folder,
                remedy="name the folder that RecformerEncoder.save wrote",
            )
        encoder = cls(
            keras_hub.models.BertBackbone.from_preset(str(folder)),
            keras_hub.models.BertTokenizer.from_preset(str(folder)),
            **json.loads(file.read_text()),
        )
        with np.load(Path(folder) / _TABLES_FILE) as tables:
            encoder.token_types.set_weights([tables["token_types"]])
            encoder.item_positions.set_weights([tables["item_positions"]])
        return encoder

    def settings(self) -> dict[str, Any]:
        """What it was made with, apart from the BERT and the seed."""
        names = ("max_items", "title_tokens", "max_tokens", "window", "pooling")
        return {name: getattr(self, name) for name in names}


def build_recformer_encoder(
    settings: RecformerSettings, encoder: str = "minilm", seed: int = 0
) -> RecformerEncoder:
    """An encoder on a BERT that has not been trained on histories yet.

    Args:
        settings: Caps, window and kept layers.
        encoder: As for ``build_text_encoder``.
        seed: Seed of the item positions.

    Raises:
        MissingDependencyError: if ``minilm`` is named and not installed.
        MissingDataError: if a folder is named that holds no model.
        SettingsError: for an encoder that cannot be loaded, or settings it cannot meet.

    Example:
        >>> encoder = build_recformer_encoder(RecformerSettings())  # doctest: +SKIP
        >>> items = encoder.tokenise(["Gel pens", "Ink for gel pens"])  # doctest: +SKIP
        >>> encoder.encode(items, [[0, 1], [1, 2]]).shape  # doctest: +SKIP
        (2, 384)
    """
    backbone, tokenizer = load_bert(encoder)
    return RecformerEncoder(
        keep_layers(backbone, settings.kept_layers, "recformer.kept_layers"),
        tokenizer,
        max_items=settings.max_items,
        title_tokens=settings.title_tokens,
        max_tokens=settings.max_tokens,
        window=settings.window,
        pooling=settings.pooling,
        seed=seed,
    )
