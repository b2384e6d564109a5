"""What every sequence model is: items, an encoder, and a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

from idp_tf.data.schema import PAD_ID
from idp_tf.errors import SettingsError
from idp_tf.layers import IdItems, ItemEmbedding, ItemLayer, derive_seed
from idp_tf.losses import ItemLoss, Items, build_loss
from idp_tf.models.step_items import ItemsOfStep

Batch = dict[str, tf.Tensor]

_LOSSES = ("loss", "regularization_loss", "total_loss")


class SequenceModel(tfrs.Model):
    """A retrieval model over item sequences, trained by ``model.fit``.

    The score of an item is the dot product of its vector with the user's
    representation, which is the encoder's output at the last position (eq. 1, 2).

    Args:
        num_items: Items 1 … num_items; 0 is padding.
        embedding_dim: Width of item vectors.
        max_length: Longest history that the encoder reads.
        encoder: A layer called as ``encoder(embeddings, padding_mask=…, training=…)``
            that maps (batch, length, dim) to the same shape.
        embeddings_initializer: Initializer of the (num_items + 1, embedding_dim) table,
            such as ``MatchedEmbeddings``.
        loss: What it is trained by, one of ``idp_tf.losses.LOSSES``.
        seed: Seed of the item embeddings.
        items: How items become vectors, such as ``TitleItems``; ``IdItems`` by that
            initializer if not given. Every model takes it.

    Training batches are dictionaries, as ``TrainingBatches`` makes them for the loss's
    ``negatives``: ``item_ids`` and ``positive_ids`` (what followed each item; 0 where nothing
    is to be learned), (batch, length) int32, padded on the left, and the loss's own.

    Attributes:
        causal: Whether what stands at a position is a function of the items up to there.

    Raises:
        SettingsError: if the loss is unknown, or the items do not fit.
    """

    causal: ClassVar[bool] = True
    train_function: Any

    def __init__(
        self,
        num_items: int,
        embedding_dim: int,
        max_length: int,
        encoder: tf_keras.layers.Layer,
        embeddings_initializer: Any = None,
        loss: str = "bpr",
        seed: int = 0,
        items: ItemLayer | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        # Config
        self.num_items = num_items
        self.embedding_dim = embedding_dim
        self.max_length = max_length
        self.loss_name = loss
        self.seed = seed

        # Layers
        if items is None:
            items = IdItems(
                num_items,
                embedding_dim,
                embeddings_initializer,
                derive_seed(seed, 0),
                name="item_embedding",
            )
        elif embeddings_initializer is not None:
            raise SettingsError(
                "given along with items, which make their own table",
                where="embeddings_initializer",
                remedy="give it to IdItems",
            )
        self.items = items
        self.encoder = encoder
        self.item_loss = self.build_item_loss()
        self.loss_tracker = _PassingMean(name=self.item_loss.name)

        # Weights exist from here on, so that they can be copied and loaded.
        padding = np.full((1, 2), PAD_ID, np.int32)
        self._check_items(self(padding), self.vectors_of(padding))

    def build_item_loss(self) -> ItemLoss:
        """What it is trained by: the loss of its settings."""
        return build_loss(self.loss_name)

    def _check_items(self, hidden: tf.Tensor, vectors: tf.Tensor) -> None:
        if self.items.num_items != self.num_items:
            raise SettingsError(
                f"vectors of {self.items.num_items} items for num_items={self.num_items}",
                where="items",
                remedy="give a vector for each item, and one for padding before them",
            )
        if not hidden.shape[-1] == vectors.shape[-1] == self.embedding_dim:
            raise SettingsError(
                f"items are {vectors.shape[-1]} and users {hidden.shape[-1]} wide, "
                f"not embedding_dim={self.embedding_dim}",
                where="items",
                remedy=f"make them with dim={self.embedding_dim}",
            )

    @property
    def item_embedding(self) -> ItemEmbedding | None:
        """The table of trained item vectors; None if items have none, such as ``TitleItems``."""
        return self.items.ids

    def call(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The encoder's outputs: (batch, length) int32 -> (batch, length, dim) float32.

        Args:
            item_ids: Padded on the left with 0; ``length`` is at most ``max_length``.
            training: Whether dropout is on.

        Raises:
            ValueError: if the length is known and above ``max_length``.
        """
        item_ids = self.checked(item_ids)
        vectors = self.input_vectors(item_ids, training=training)
        return self.encoded(vectors, item_ids, training=training)

    def encoded(
        self, vectors: tf.Tensor, item_ids: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """The outputs for histories whose ``input_vectors`` are at hand, (batch, length, dim)."""
        padding_mask = tf.not_equal(item_ids, PAD_ID)
        hidden = self.encoder(vectors, padding_mask=padding_mask, training=training)
        # Scores and losses are float32 whatever the encoder computes in.
        return tf.cast(hidden, tf.float32)

    def checked(self, item_ids: tf.Tensor) -> tf.Tensor:
        """Histories as a tensor.

        Raises:
            ValueError: if their length is known and above ``max_length``.
        """
        item_ids = tf.convert_to_tensor(item_ids)
        length = item_ids.shape[1]
        if length is not None and length > self.max_length:
            raise ValueError(
                f"item_ids are {length} long, the model reads at most "
                f"max_length={self.max_length}; pass the last {self.max_length} of each row"
            )
        return item_ids

    def input_vectors(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """What the encoder reads: (batch, length) int32 -> (batch, length, width of items)."""
        embeddings = self.items(item_ids, training=training)
        # The padding row may hold anything; nothing of it goes in.
        return embeddings * tf.cast(tf.not_equal(item_ids, PAD_ID), embeddings.dtype)[..., None]

    def encode_prefixes(self, item_ids: tf.Tensor) -> tf.Tensor:
        """The user's representation after each item: (batch, length) -> (batch, length, dim).

        Raises:
            SettingsError: if the model is not causal.
        """
        if not self.causal:
            raise SettingsError(
                f"{type(self).__name__} looks at later items too and has no representation "
                "of every prefix in one pass",
                where="encode_prefixes",
                remedy="pass each prefix to encode_users",
            )
        return self(item_ids, training=False)

    @tf.function(autograph=False, reduce_retracing=True)
    def encode_users(self, item_ids: tf.Tensor) -> tf.Tensor:
        """User representations: (batch, length) int32, padded on the left -> (batch, dim).

        ``length`` is at most ``max_length``: cut longer histories to their last items.
        """
        return self(item_ids, training=False)[:, -1]

    def encode_vectors(self, vectors: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
        """User representations where histories are vectors of items, whatever gave them those.

        With the vectors of ids it is ``encode_users`` of these ids. Items that no table holds
        have vectors too, such as those of ``generate_embeddings``.

        Args:
            vectors: (batch, length, dim), padded on the left; ``length`` is at most
                ``max_length``.
            known: Where there is an item, (batch, length) bool.

        Returns:
            (batch, dim).

        Raises:
            SettingsError: if items have more to them than the vector of an id.
        """
        self._check_reads_ids_alone()
        return self.encoded(*masked_vectors(vectors, known), training=False)[:, -1]

    @property
    def reads_ids_alone(self) -> bool:
        """Whether the encoder reads of an item its row of ``item_vectors``, and nothing else."""
        return isinstance(self.items, IdItems)

    def _check_reads_ids_alone(self) -> None:
        if not self.reads_ids_alone:
            raise SettingsError(
                f"{type(self).__name__} reads more of an item than the vector of its id",
                where="encode_vectors",
                remedy="take a system that reads ids alone, such as idp",
            )

    def item_vectors(self, training: bool | None = None) -> tf.Tensor:
        """What user representations are multiplied with, (num_items + 1, dim); row 0 is padding.

        Args:
            training: Whether they are to be trained, with whatever noise that adds to them.
        """
        return self.items.table(training=training)

    def vectors_of(self, item_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The rows of ``item_vectors`` of some items: ids (batch, …) -> (batch, …, dim)."""
        return tf.cast(self.items(item_ids, training=training), tf.float32)

    def take_over(self, pretrained: SequenceModel) -> None:
        """Starts from a pre-trained model: its encoder and, where titles are read, their adaptor.

        Dropout keeps this model's own masks. Vectors of ids stay as they are: the other model's
        are those of other items.

        Args:
            pretrained: A model of this class and shape but for its items.

        Raises:
            SettingsError: if it is of another class or shape.
        """
        if not isinstance(pretrained, type(self)):
            raise SettingsError(
                f"a {type(self).__name__} cannot start from a {type(pretrained).__name__}",
                where="take_over",
                remedy="pre-train the model that is to be fine-tuned",
            )
        copy_weights(pretrained.encoder, self.encoder)
        if pretrained.items.adaptor is not None and self.items.adaptor is not None:
            copy_weights(pretrained.items.adaptor, self.items.adaptor)

    def compute_loss(self, inputs: Batch, training: bool = False) -> tf.Tensor:
        """The item loss at every position of a batch and, in training, ``added_loss``.

        The metric that has the item loss's ``name`` is of that alone.
        """
        hidden, batch = self.training_outputs(inputs, training)
        loss = self.item_loss(hidden, batch, self.items_of_step(batch, training))
        # Replicas' losses add up to the batch's; the tracker takes the mean of what it is given.
        self.loss_tracker.update_state(loss * _num_replicas())
        return loss + self.added_loss(hidden, batch) if training else loss

    def added_loss(self, hidden: tf.Tensor, batch: Batch) -> tf.Tensor | float:
        """What training asks of a model beside good scores, a scalar; here, nothing.

        Args:
            hidden: The encoder's outputs, (batch, length, dim).
            batch: What the item loss is given.
        """
        return 0.0

    def training_outputs(self, inputs: Batch, training: bool) -> tuple[tf.Tensor, Batch]:
        """What the loss is given: outputs (batch, length, dim), and the batch as it has it."""
        return self(inputs["item_ids"], training=training), inputs

    def items_of_step(self, batch: Batch, training: bool) -> Items:
        """Where the item loss finds vectors of items; here, the model makes what is asked for.

        Args:
            batch: What the item loss is given.
            training: Whether the vectors are to be trained.
        """
        return ItemsOfStep(self, training)

    # Nothing in a step needs AutoGraph, which takes longer over it than the rest of tracing.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, inputs: Batch) -> dict[str, tf.Tensor]:
        """One step of training; see ``tfrs.Model``."""
        return super().train_step(inputs)

    def make_train_function(self, force: bool = False) -> Callable[[Any], dict[str, tf.Tensor]]:
        """As Keras's, which traces several steps in one call twice; here they are traced once."""
        several = self._steps_per_execution is not None and self._steps_per_execution.numpy() > 1
        replicas = self.distribute_strategy.num_replicas_in_sync
        if not several or replicas > 1 or self.run_eagerly or self.jit_compile:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = self.train_tf_function = _several_steps(self)
        return self.train_function

    def get_config(self) -> dict[str, Any]:
        """The arguments that rebuild the model, but for the initializer."""
        plain = isinstance(self.items, IdItems)
        return {
            "num_items": self.num_items,
            "embedding_dim": self.embedding_dim,
            "max_length": self.max_length,
            "loss": self.loss_name,
            "seed": self.seed,
            **({} if plain else {"items": tf_keras.layers.serialize(self.items)}),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> SequenceModel:
        """The inverse of ``get_config``; title vectors are zeros until weights are loaded."""
        if "items" in config:
            items = tf_keras.layers.deserialize(config["items"], custom_objects)
            config = {**config, "items": items}
        return cls(**config)


def copy_weights(
    source: tf_keras.layers.Layer,
    target: tf_keras.layers.Layer,
    onto: list[tf.Variable] | None = None,
) -> None:
    """Copies what one layer has learned to another of its kind, but not what it has counted.

    Args:
        source: The layer that has learned.
        target: The layer that takes it over.
        onto: Which of the target's weights, where it has others besides.

    Raises:
        SettingsError: if their weights differ in number or shape.
    """
    theirs, ours = (
        [weight for weight in weights if weight.dtype.is_floating]
        for weights in (source.weights, target.weights if onto is None else onto)
    )
    if [weight.shape for weight in theirs] != [weight.shape for weight in ours]:
        raise SettingsError(
            f"the weights of {source.name} do not fit {target.name}",
            where="take_over",
            remedy="give both the same width, layers, length and title vectors",
        )
    for from_source, own in zip(theirs, ours, strict=True):
        own.assign(from_source)


def _several_steps(model: SequenceModel) -> Callable[[Any], dict[str, tf.Tensor]]:
    """A training function of ``steps_per_execution`` steps, or of what the epoch has left."""

    @tf.function(autograph=False, reduce_retracing=True)
    def train(iterator: Any) -> dict[str, tf.Tensor]:
        def step(done: tf.Tensor, losses: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            logs = model.train_step(iterator.get_next())
            with tf.control_dependencies(logs.values()):
                model._train_counter.assign_add(1)
            return done + 1, [logs[name] for name in _LOSSES]

        steps = tf.cast(model._steps_per_execution, tf.int32)
        _, losses = tf.while_loop(
            lambda done, losses: done < steps,
            step,
            (0, [0.0] * len(_LOSSES)),
            parallel_iterations=1,
        )
        return model.get_metrics_result() | dict(zip(_LOSSES, losses, strict=True))

    return train


def masked_vectors(vectors: tf.Tensor, known: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Vectors without whatever stands at padding, and ids that tell padding from items."""
    return vectors * tf.cast(known, vectors.dtype)[..., None], tf.where(known, PAD_ID + 1, PAD_ID)


class _PassingMean(tf_keras.metrics.Mean):
    """A mean that no file of weights holds: it is of one epoch, and adds up over workers."""

    def save_own_variables(self, store: Any) -> None:
        """Saves nothing."""

    def load_own_variables(self, store: Any) -> None:
        """Begins anew; older files hold a mean, which is not looked at."""
        self.reset_state()


def _num_replicas() -> int:
    replica = tf.distribute.get_replica_context()
    return 1 if replica is None else replica.num_replicas_in_sync
