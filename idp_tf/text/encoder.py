"""A BERT that turns titles into vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

import keras_hub
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from idp_tf.errors import MissingDataError, SettingsError
from idp_tf.text.bert import EncoderDtype, Pooling, TitleVectors, encode_tokens
from idp_tf.text.encoding import encode_in_batches
from idp_tf.text.folders import whole_folder
from idp_tf.text.sources import keep_layers, load_bert
from idp_tf.text.tokens import TitlePacker

_SETTINGS_FILE: Final = "text_encoder.json"


class TextEncoder:
    """Titles to L2-normalised vectors by a KerasHub BERT (eq. 4).

    Args:
        backbone: A ``keras_hub.models.BertBackbone``.
        tokenizer: The ``keras_hub.models.BertTokenizer`` that goes with it.
        pooling: ``cls`` (the paper's) or ``mean`` (MiniLM's).
        title_length: Most positions of a title that are read, ``[CLS]`` and ``[SEP]`` included.

    Raises:
        SettingsError: if the pooling is unknown, or the encoder cannot read so long a title.

    Reference:
        Eq. 4 of "ID-centric Pre-training for Recommendation".
    """

    def __init__(
        self, backbone: Any, tokenizer: Any, pooling: Pooling = "mean", title_length: int = 64
    ):
        if pooling not in get_args(Pooling):
            raise SettingsError(
                f"unknown pooling {pooling!r}", where="matcher.pooling", remedy="set mean or cls"
            )
        if not 3 <= title_length <= backbone.max_sequence_length:
            raise SettingsError(
                f"title_length is {title_length}, but the encoder reads 3 … "
                f"{backbone.max_sequence_length} positions",
                where="matcher.title_length",
            )
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.pooling: Pooling = pooling
        self.title_length = title_length
        # Titles are pooled here; BERT's own pooler has no part in it.
        backbone.pooled_dense.trainable = False
        self.packer = TitlePacker(tokenizer, title_length)
        self._compiled = tf.function(
            self._encode_unpadded, input_signature=[tf.TensorSpec((None, None), tf.int32)]
        )

    @property
    def width(self) -> int:
        """The length of a vector."""
        return int(self.backbone.hidden_dim)

    def encode(
        self,
        titles: Sequence[str],
        *,
        resume_dir: Path | None = None,
        description: str = "Encoding titles",
    ) -> npt.NDArray[np.float32]:
        """Vectors of many titles; equal titles get equal vectors, bit for bit.

        Args:
            titles: Any number of titles; an empty one gets the vector of an empty text.
            resume_dir: If given, finished parts are kept there, and a second call with the
                same titles, weights and settings goes on from them. The caller removes the
                folder once the result is stored.
            description: What the progress bar says.

        Returns:
            Shape (len(titles), width), float32, rows of length 1.
        """
        distinct, inverse = np.unique(np.asarray(titles, dtype=object), return_inverse=True)
        vectors = encode_in_batches(
            self.packer.tokenise(distinct.tolist()),
            self._compiled,
            self.width,
            parts_dir=None if resume_dir is None else resume_dir / self.fingerprint(titles),
            description=description,
        )
        return vectors[inverse]

    def fingerprint(self, titles: Sequence[str] = ()) -> str:
        """A hash of weights, vocabulary, settings and titles: what decides the vectors."""
        digest = hashlib.sha256(json.dumps(self._settings(), sort_keys=True).encode())
        digest.update("\n".join(self.tokenizer.get_vocabulary()).encode())
        # Not `variables`, which hold the state of dropout's random generators too.
        for variable in self.backbone.weights:
            digest.update(np.ascontiguousarray(variable).tobytes())
        for title in titles:
            digest.update(title.encode() + b"\0")
        return digest.hexdigest()[:16]

    def title_layer(self) -> TitleVectors:
        """A Keras layer from strings (batch,) to vectors (batch, width), for export.

        Everything happens in the graph; put it into a ``keras.export.ExportArchive``.
        """
        return TitleVectors(self.backbone, self.packer, self.pooling, name="title_vectors")

    def save(self, folder: Path) -> None:
        """Writes weights, vocabulary and settings; the folder appears whole or not at all."""
        # Not among the settings of the fingerprint, in which the weights' bytes tell dtypes apart.
        written = self._settings() | {"dtype": self.backbone.dtype_policy.name}
        with whole_folder(Path(folder)) as fresh:
            self.backbone.save_to_preset(str(fresh))
            self.tokenizer.save_to_preset(str(fresh))
            (fresh / _SETTINGS_FILE).write_text(json.dumps(written, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> TextEncoder:
        """Reads what ``save`` wrote.

        Raises:
            MissingDataError: if the folder holds no saved encoder.
        """
        file = Path(folder) / _SETTINGS_FILE
        if not file.is_file():
            raise MissingDataError(
                "no saved text encoder is here", where=folder, remedy="run the match stage again"
            )
        settings = json.loads(file.read_text())
        return cls(
            # One that was saved before there was a choice has none written down.
            keras_hub.models.BertBackbone.from_preset(
                str(folder), dtype=settings.get("dtype", "float32")
            ),
            keras_hub.models.BertTokenizer.from_preset(str(folder)),
            pooling=settings["pooling"],
            title_length=settings["title_length"],
        )

    def _settings(self) -> dict[str, Any]:
        return {"pooling": self.pooling, "title_length": self.title_length}

    def _encode_unpadded(self, token_ids: Any) -> Any:
        return encode_tokens(self.backbone, token_ids, None, self.pooling)


def build_text_encoder(
    encoder: str = "minilm",
    pooling: Pooling = "mean",
    title_length: int = 64,
    kept_layers: int | None = None,
    dtype: EncoderDtype = "float32",
) -> TextEncoder:
    """Loads a BERT and makes a ``TextEncoder`` of it.

    Args:
        encoder: ``minilm`` (the packaged all-MiniLM-L6-v2), a folder in Hugging Face format
            or saved by KerasHub, or a KerasHub preset such as ``hf://…``.
        pooling: ``mean`` or ``cls``.
        title_length: Most positions of a title that are read.
        kept_layers: Keeps this many of the first transformer layers; ``None`` keeps all.
        dtype: What the weights are kept and the layers computed in; vectors are pooled and
            given in float32 either way. ``bfloat16`` is for encoding, not for tuning: its
            8 bits are too few for a small step of the optimizer.

    Raises:
        MissingDependencyError: if ``minilm`` is named and not installed.
        MissingDataError: if a folder holds no model.
        SettingsError: for an encoder that cannot be loaded, or settings it cannot meet.

    Example:
        >>> encoder = build_text_encoder("minilm", kept_layers=3)  # doctest: +SKIP
        >>> encoder.encode(["Acoustic guitar strings", "Green tea"]).shape  # doctest: +SKIP
        (2, 384)
    """
    if dtype not in get_args(EncoderDtype):
        raise SettingsError(
            f"unknown dtype {dtype!r}", where="dtype", remedy="set float32 or bfloat16"
        )
    backbone, tokenizer = load_bert(encoder, dtype)
    return TextEncoder(keep_layers(backbone, kept_layers), tokenizer, pooling, title_length)
