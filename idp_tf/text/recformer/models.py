"""The Keras 3 models that train Recformer, and their losses."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from idp_tf.text.recformer.encoder import RecformerEncoder


class RecformerPretraining(keras.Model):
    """Both objectives of pre-training through ``model.fit``.

    The word embeddings stay as they are, as in the official script; they also give the
    scores of hidden words, after a fresh dense layer (a BERT for sentences comes without).

    Args:
        encoder: The encoder to pre-train; its weights are this model's.
        temperature: Divides cosines.
        mlm_weight: Weight of masked language modelling.
        seed: Seed of the fresh dense layer.

    Call shapes:
        A batch of ``PretrainingBatches``; returns ``users`` and ``items``, (batch, width),
        and the scores of hidden words, (n, vocabulary), of both kinds of sentences.

    Reference: ``RecformerForPretraining`` of https://github.com/AaronHeee/RecFormer.
    """

    def __init__(self, encoder: RecformerEncoder, temperature: float, mlm_weight: float, seed: int):
        super().__init__()
        encoder.backbone.token_embedding.trainable = False
        self.encoder = encoder
        self.head = WordHead(encoder.width, seed)
        self.head.build()
        self.bias = self.add_weight(
            shape=(encoder.backbone.vocabulary_size,), initializer="zeros", name="word_bias"
        )
        self.temperature = temperature
        self.mlm_weight = mlm_weight
        self.contrastive_loss = keras.metrics.Mean(name="contrastive_loss")
        self.word_loss = keras.metrics.Mean(name="word_loss")
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Vectors of whole sentences, and words told from those with words hidden."""
        return {
            "users": self.encoder.vectors(inputs["histories"], training),
            "items": self.encoder.vectors(inputs["items"], training),
            "history_words": self._words(inputs["histories"], inputs["masked_histories"], training),
            "item_words": self._words(inputs["items"], inputs["masked_items"], training),
        }

    def _words(self, sentences: dict[str, Any], masked: dict[str, Any], training: bool) -> Any:
        hidden = {**sentences, "token_ids": masked["token_ids"]}
        states = ops.reshape(self.encoder.states(hidden, training), (-1, self.encoder.width))
        told = self.head(ops.take(states, masked["places"], axis=0))
        return self.encoder.backbone.token_embedding(told, reverse=True) + self.bias

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """The contrast, and the weighted sum of both kinds of sentences' word losses."""
        contrast = in_batch_loss(y_pred["users"], y_pred["items"], self.temperature)
        words = word_loss(y_pred["history_words"], x["masked_histories"]["targets"])
        words += word_loss(y_pred["item_words"], x["masked_items"]["targets"])
        self.contrastive_loss.update_state(contrast)
        self.word_loss.update_state(words)
        return contrast + self.mlm_weight * words


class WordHead(keras.layers.Layer):
    """From a state to what is compared with word embeddings: dense, GELU, normalised.

    Args:
        width: The states' width.
        seed: Seed of the kernel.
    """

    def __init__(self, width: int, seed: int):
        super().__init__(dtype="float32", name="word_head")
        kernel = keras.initializers.RandomNormal(stddev=0.02, seed=seed)
        self.dense = keras.layers.Dense(width, activation="gelu", kernel_initializer=kernel)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-12)
        self._width = width

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights, whatever is to come."""
        self.dense.build((None, self._width))
        self.norm.build((None, self._width))
        self.built = True

    def call(self, states: Any) -> Any:
        """(n, width) to (n, width)."""
        return self.norm(self.dense(states))


def in_batch_loss(users: Any, items: Any, temperature: float) -> Any:
    """-log of the share of each history's next item among all next items of the batch.

    Args:
        users: Vectors of histories, L2-normalised, shape (batch, width).
        items: Vectors of their next items, L2-normalised, shape (batch, width).
        temperature: Divides cosines.

    Returns:
        The mean, a scalar.
    """
    scores = ops.matmul(users, ops.transpose(items)) / temperature
    return ops.mean(ops.logsumexp(scores, axis=-1) - ops.diagonal(scores))


def word_loss(scores: Any, targets: Any) -> Any:
    """-log of the share of each hidden word among all words; 0 where none is hidden.

    Args:
        scores: Shape (n, vocabulary).
        targets: Ids of the words, shape (n,).

    Returns:
        The mean, a scalar.
    """
    losses = keras.losses.sparse_categorical_crossentropy(targets, scores, from_logits=True)
    return ops.sum(losses) / ops.maximum(1.0, ops.cast(ops.shape(targets)[0], "float32"))


class RecformerFineTuning(keras.Model):
    """Cross-entropy over all items through ``model.fit``.

    Args:
        encoder: The encoder to fine-tune; its weights are this model's, words included.
        num_items: Items of the catalogue.
        temperature: Divides cosines.

    Call shapes:
        A batch of ``FineTuningBatches``; returns scores (batch, num_items).

    Reference: ``RecformerForSeqRec`` of https://github.com/AaronHeee/RecFormer.
    """

    def __init__(self, encoder: RecformerEncoder, num_items: int, temperature: float):
        super().__init__()
        encoder.backbone.token_embedding.trainable = True
        self.encoder = encoder
        self.temperature = temperature
        self.item_table = self.add_weight(
            shape=(num_items, encoder.width),
            initializer="zeros",
            trainable=False,
            name="item_table",
        )
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Cosines with all items over the temperature."""
        users = self.encoder.vectors(inputs["histories"], training)
        return ops.matmul(users, ops.transpose(self.item_table)) / self.temperature

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """-log of the next item's share among all items, as the mean over the batch."""
        losses = keras.losses.sparse_categorical_crossentropy(
            x["targets"], y_pred, from_logits=True
        )
        return ops.mean(losses)
