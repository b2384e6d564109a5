"""Both trainings of Recformer: losses, what learns, and that a killed run goes on unchanged."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from idp_tf.config import RecformerSettings
from idp_tf.data.sequences import Sequences
from idp_tf.errors import WorkdirError
from idp_tf.text import stepwise
from idp_tf.text.recformer import (
    Recformer,
    build_recformer_encoder,
    fine_tune_recformer,
    fine_tuning,
    pretrain_recformer,
    pretraining,
)
from idp_tf.text.recformer.batches import FineTuningBatches, PretrainingBatches, Rounds
from idp_tf.text.recformer.masking import WordMasker
from idp_tf.text.recformer.models import (
    RecformerFineTuning,
    RecformerPretraining,
    in_batch_loss,
    word_loss,
)
from idp_tf.text.saved_state import SavedState

SETTINGS = RecformerSettings(
    kept_layers=1,
    max_items=4,
    title_tokens=5,
    max_tokens=16,
    window=6,
    batch_size=4,
    pretrain_batch_size=4,
    pretrain_steps=6,
    pretrain_learning_rate=3e-3,
    learning_rate=3e-3,
    stage_1_epochs=3,
    stage_2_epochs=3,
)
TITLES = [
    f"{first} {second}"
    for first in ("green", "black", "white")
    for second in ("tea", "guitar strings", "robot lamp", "book of ink")
]
# Users stay with a colour and walk through its items.
HISTORIES = np.array(
    [
        [0, *(4 * colour + (start + step) % 4 + 1 for step in range(4))]
        for colour in range(3)
        for start in range(4)
    ],
    np.int32,
)
LEARNED = Sequences(HISTORIES[:, 1:].ravel(), np.arange(0, 49, 4))


def changed(**values):
    return SETTINGS.model_copy(update=values)


def build(tiny_bert):
    return build_recformer_encoder(SETTINGS, str(tiny_bert))


def weights(encoder):
    return [np.asarray(weight) for weight in encoder.weights]


def assert_equal(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def assert_differ(first, second):
    assert max(abs(one - other).max() for one, other in zip(first, second, strict=True)) > 1e-4


def unit(seed, *shape):
    vectors = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_the_contrast_is_in_batch_cross_entropy():
    users, items = unit(0, 5, 8), unit(1, 5, 8)
    expected = -np.mean(np.diag(log_softmax(users @ items.T / 0.05, axis=1)))
    assert float(in_batch_loss(users, items, 0.05)) == pytest.approx(expected, rel=1e-4)


def test_hidden_words_alone_carry_the_word_loss():
    scores, targets = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32), [2, 6, 2]
    expected = -np.mean(log_softmax(scores, axis=1)[[0, 1, 2], targets])
    found = word_loss(tf.constant(scores), tf.constant(targets))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    none = word_loss(tf.zeros((0, 7)), tf.zeros((0,), tf.int32))
    assert float(none) == 0


@pytest.fixture(scope="module")
def pretraining_parts(tiny_bert):
    encoder = build(tiny_bert)
    sentences = encoder.tokenise(TITLES)
    rounds = Rounds(sentences, LEARNED, 4, 0, late_half=True)
    batches = PretrainingBatches(rounds, sentences, WordMasker.of(encoder.tokenizer), 0)
    return encoder, RecformerPretraining(encoder, 0.2, 0.7, seed=0), batches.batch(0)


def test_the_loss_of_a_pretraining_step_is_that_of_the_paper(pretraining_parts):
    encoder, model, batch = pretraining_parts
    model.bias.assign(np.random.default_rng(0).normal(size=model.bias.shape))
    users = np.asarray(encoder.vectors(batch["histories"]))
    items = np.asarray(encoder.vectors(batch["items"]))
    expected = -np.mean(np.diag(log_softmax(users @ items.T / 0.2, axis=1)))
    words = np.asarray(encoder.backbone.token_embedding.embeddings)
    for kind in ("histories", "items"):
        masked = batch[f"masked_{kind}"]
        hidden = batch[kind] | {"token_ids": masked["token_ids"]}
        states = np.asarray(encoder.states(hidden)).reshape(-1, 16)[masked["places"]]
        told = np.asarray(model.head(states)) @ words.T + np.asarray(model.bias)
        rows = np.arange(len(told))
        expected -= 0.7 * np.mean(log_softmax(told, axis=1)[rows, masked["targets"]])
    found = model.compute_loss(x=batch, y_pred=model(batch, training=False))
    assert float(found) == pytest.approx(expected, rel=1e-4)


def assert_all_learn(variables, gradients):
    for variable, gradient in zip(variables, gradients, strict=True):
        assert gradient is not None, variable.path
        # The bias of keys adds the same to all scores of a query, which a softmax takes away.
        if not variable.path.endswith("key/bias"):
            assert np.abs(tf.convert_to_tensor(gradient)).max() > 1e-6, variable.path


def test_gradients_reach_every_weight_but_the_words_in_pretraining(pretraining_parts):
    encoder, model, batch = pretraining_parts
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=batch, y_pred=model(batch, training=True))
    variables = model.trainable_variables
    assert_all_learn(variables, tape.gradient(loss, [v.value for v in variables]))
    still = {v.path.split("/")[0] for v in encoder.weights} - {
        v.path.split("/")[0] for v in variables
    }
    assert still == {"token_embedding", "segment_embedding", "pooled_dense"}


def test_gradients_reach_every_weight_in_fine_tuning(tiny_bert):
    encoder = build(tiny_bert)
    recformer = Recformer.of(encoder, TITLES)
    rounds = Rounds(recformer.sentences, LEARNED, 4, 0, late_half=False)
    batch = next(iter(FineTuningBatches(rounds, recformer.sentences).dataset(0)))
    model = RecformerFineTuning(encoder, recformer.num_items, 0.05)
    model.item_table.assign(recformer.item_vectors()[1:])
    with tf.GradientTape() as tape:
        scores = model(batch, training=False)
        loss = model.compute_loss(x=batch, y_pred=scores)
    variables = model.trainable_variables
    assert_all_learn(variables, tape.gradient(loss, [v.value for v in variables]))
    assert not any(v is model.item_table for v in variables)
    assert any(v.path.startswith("token_embedding") for v in variables)
    histories, following = rounds.batch(0, 0)
    expected = recformer.encode_users(histories) @ recformer.item_vectors()[1:].T / 0.05
    np.testing.assert_allclose(np.asarray(scores), expected, atol=1e-4)
    own = log_softmax(expected, axis=1)[np.arange(len(following)), following - 1]
    assert float(loss) == pytest.approx(-own.mean(), rel=1e-4)


def pretrain(tiny_bert, folder, settings=SETTINGS, seed=0):
    encoder = build(tiny_bert)
    result = pretrain_recformer(encoder, TITLES, LEARNED, settings, seed, folder)
    return encoder, result


@pytest.fixture(scope="module")
def pretrained(tiny_bert, tmp_path_factory):
    """The folder, the weights and the result of an undisturbed pre-training."""
    folder = tmp_path_factory.mktemp("pretrained")
    encoder, result = pretrain(tiny_bert, folder)
    return folder, weights(encoder), result


def test_pretraining_lowers_its_losses(tiny_bert, pretrained, tmp_path):
    _, result = pretrain(tiny_bert, tmp_path, changed(pretrain_steps=60), seed=1)
    for name in ("loss", "contrastive_loss", "word_loss"):
        losses = [step[name] for step in result.history]
        assert np.mean(losses[-10:]) < np.mean(losses[:10])
    for step in result.history:
        parts = step["contrastive_loss"] + SETTINGS.mlm_weight * step["word_loss"]
        assert step["loss"] == pytest.approx(parts, rel=1e-4)
    assert result.num_sequences == len(HISTORIES)
    # Before its first update it differs from one of another seed by what that draws alone.
    first, of_another_seed = result.history[0], pretrained[2].history[0]
    assert abs(first["contrastive_loss"] - of_another_seed["contrastive_loss"]) > 1e-4
    assert abs(first["word_loss"] - of_another_seed["word_loss"]) > 1e-4


def test_resumed_pretraining_equals_an_undisturbed_one(
    tiny_bert, pretrained, tmp_path, monkeypatch
):
    _, undisturbed, first = pretrained
    monkeypatch.setattr(stepwise, "CHECKPOINT_STEPS", 2)
    original = stepwise.StepLog.on_train_batch_end

    def killed_in_the_sixth(self, batch, logs=None):
        if len(self.history) == 5:
            raise KeyboardInterrupt
        original(self, batch, logs)

    monkeypatch.setattr(stepwise.StepLog, "on_train_batch_end", killed_in_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        pretrain(tiny_bert, tmp_path)
    monkeypatch.setattr(stepwise.StepLog, "on_train_batch_end", original)
    encoder, result = pretrain(tiny_bert, tmp_path)
    assert (first.resumed_at, result.resumed_at) == (0, 4)
    assert result.history == first.history
    assert_equal(weights(encoder), undisturbed)


def test_finished_pretraining_is_not_run_again(tiny_bert, pretrained, monkeypatch):
    folder, undisturbed, _ = pretrained
    monkeypatch.setattr(RecformerPretraining, "fit", lambda *a, **k: pytest.fail("ran again"))
    encoder, result = pretrain(tiny_bert, folder)
    assert result.resumed_at == 6
    assert_equal(weights(encoder), undisturbed)


def test_pretraining_of_no_steps_leaves_the_encoder(tiny_bert, tmp_path):
    encoder, result = pretrain(tiny_bert, tmp_path, changed(pretrain_steps=0))
    assert_equal(weights(encoder), weights(build(tiny_bert)))
    assert result.history == () and not list(tmp_path.iterdir())


def test_another_runs_state_is_refused(tiny_bert, pretrained, tmp_path):
    with pytest.raises(WorkdirError, match=r"pre-training belongs to other data or settings"):
        pretrain(tiny_bert, pretrained[0], changed(temperature=0.1))
    (tmp_path / pretraining.CHECKPOINT_FILE).write_bytes(b"no state")
    with pytest.raises(WorkdirError, match="cannot be read"):
        pretrain(tiny_bert, tmp_path)


class Validation:
    """Gives values in turn, keeps what it saw, and can be where a run is killed."""

    def __init__(self, values, killed_at=None):
        self.values = list(values)
        self.killed_at = killed_at
        self.recformer = None
        self.items = []
        self.users = []

    def __call__(self):
        if self.killed_at is not None and len(self.items) == self.killed_at:
            raise KeyboardInterrupt
        self.items.append(self.recformer.item_vectors().copy())
        self.users.append(self.recformer.encode_users(HISTORIES))
        return self.values[len(self.items) - 1]


# Stage 1 has its three epochs, the second the best; stage 2 is best in its second.
VALUES = (0.1, 0.3, 0.2, 0.3, 0.5, 0.4)


def fine_tune(tiny_bert, folder, validate, settings=SETTINGS, seed=0):
    recformer = Recformer.of(build(tiny_bert), TITLES)
    validate.recformer = recformer
    state = fine_tune_recformer(
        recformer, LEARNED, settings, seed=seed, folder=folder, validate=validate
    )
    return recformer, state


@pytest.fixture(scope="module")
def tuned(tiny_bert, tmp_path_factory):
    folder, validate = tmp_path_factory.mktemp("tuned"), Validation(VALUES)
    recformer, state = fine_tune(tiny_bert, folder, validate)
    return recformer, state, validate, folder


def test_both_stages_end_as_algorithm_1_says(tuned):
    recformer, state, validate, folder = tuned
    assert state.history["stage"] == [1, 1, 1, 2, 2, 2]
    assert state.history["val_ndcg@10"] == list(VALUES)
    assert (state.stage, state.best_epoch, state.best_value) == (3, 5, 0.5)
    np.testing.assert_array_equal(recformer.encode_users(HISTORIES), validate.users[4])
    np.testing.assert_array_equal(recformer.item_vectors(), validate.items[4])
    assert {f.name for f in folder.iterdir()} == {fine_tuning.CHECKPOINT_FILE, "best-5.npz"}


def test_another_seed_is_another_fine_tuning(tiny_bert, tuned, tmp_path):
    other, _ = fine_tune(tiny_bert, tmp_path, Validation(VALUES), seed=1)
    assert_differ(weights(other.encoder), weights(tuned[0].encoder))


def test_items_are_encoded_anew_in_stage_1_and_not_in_stage_2(tiny_bert, tuned):
    _, _, validate, _ = tuned
    # Before an epoch: by the encoder as that epoch found it.
    untrained = Recformer.of(build(tiny_bert), TITLES).item_vectors()
    np.testing.assert_array_equal(validate.items[0], untrained)
    assert abs(validate.items[1] - validate.items[0]).max() > 1e-4
    assert abs(validate.items[2] - validate.items[1]).max() > 1e-4
    for later in validate.items[3:]:
        np.testing.assert_array_equal(later, validate.items[1])


def test_without_a_better_epoch_stage_2_ends_at_stage_1s_best(tiny_bert, tmp_path):
    validate = Validation((0.1, 0.3, 0.2, 0.1, 0.3))
    recformer, state = fine_tune(tiny_bert, tmp_path, validate, changed(stage_2_patience=2))
    assert state.history["stage"] == [1, 1, 1, 2, 2] and state.best_epoch == 2
    np.testing.assert_array_equal(recformer.encode_users(HISTORIES), validate.users[1])
    np.testing.assert_array_equal(recformer.item_vectors(), validate.items[1])


def test_patience_ends_stage_1_and_a_stage_of_no_epochs_is_passed(tiny_bert, tmp_path):
    settings = changed(stage_1_patience=1, stage_2_epochs=0)
    validate = Validation((0.2, 0.2, 0.9))
    recformer, state = fine_tune(tiny_bert, tmp_path, validate, settings)
    assert state.history["stage"] == [1, 1] and (state.stage, state.best_epoch) == (3, 1)
    np.testing.assert_array_equal(recformer.encode_users(HISTORIES), validate.users[0])


def test_fine_tuning_lowers_its_loss(tiny_bert, tmp_path):
    settings = changed(stage_1_epochs=8, stage_2_epochs=4)
    _, state = fine_tune(tiny_bert, tmp_path, Validation(np.arange(12.0)), settings)
    losses = state.history["loss"]
    assert np.mean(losses[6:8]) < np.mean(losses[:2])
    assert np.mean(losses[10:]) < np.mean(losses[6:8])


@pytest.mark.slow
def test_fine_tuning_killed_again_and_again_equals_an_undisturbed_one(tiny_bert, tuned, tmp_path):
    """Before anything is kept, within stage 1, where stage 2 begins, and in the last epoch."""
    expected, undisturbed, whole, _ = tuned
    users = []
    for epoch in (0, 1, 3, 5):
        life = Validation(VALUES[len(users) :], killed_at=epoch - len(users))
        with pytest.raises(KeyboardInterrupt):
            fine_tune(tiny_bert, tmp_path, life)
        users += life.users
    last = Validation(VALUES[len(users) :])
    recformer, state = fine_tune(tiny_bert, tmp_path, last)
    assert_same_run(recformer, state, expected, undisturbed)
    assert_equal(users + last.users, whole.users)


def assert_same_run(recformer, state, expected, undisturbed):
    for name in ("stage", "loss", "val_ndcg@10"):
        assert state.history[name] == undisturbed.history[name]
    assert (state.stage, state.best_epoch) == (undisturbed.stage, undisturbed.best_epoch)
    assert_equal(weights(recformer.encoder), weights(expected.encoder))
    np.testing.assert_array_equal(recformer.item_vectors(), expected.item_vectors())


def test_killed_between_best_weights_and_state(tiny_bert, tuned, tmp_path, monkeypatch):
    expected, undisturbed, _, _ = tuned
    original, written = SavedState.write, []

    def killed_before_the_second_state(self, about):
        if about and len(written) == 1:
            raise KeyboardInterrupt
        written.extend([about] if about else [])
        original(self, about)

    monkeypatch.setattr(SavedState, "write", killed_before_the_second_state)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(tiny_bert, tmp_path, Validation(VALUES))
    assert {f.name for f in tmp_path.glob("best*")} == {"best-1.npz", "best-2.npz"}
    monkeypatch.setattr(SavedState, "write", original)
    recformer, state = fine_tune(tiny_bert, tmp_path, Validation(VALUES[1:]))
    assert_same_run(recformer, state, expected, undisturbed)


def test_finished_fine_tuning_is_not_run_again(tiny_bert, tuned, monkeypatch):
    expected, undisturbed, _, folder = tuned
    monkeypatch.setattr(RecformerFineTuning, "fit", lambda *a, **k: pytest.fail("ran again"))
    recformer, state = fine_tune(tiny_bert, folder, Validation(()))
    assert_same_run(recformer, state, expected, undisturbed)


def test_best_weights_that_are_gone_are_missed(tiny_bert, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fine_tune(tiny_bert, tmp_path, Validation(VALUES, killed_at=2))
    (tmp_path / "best-2.npz").unlink()
    with pytest.raises(WorkdirError, match=r"best weights of .* are gone"):
        fine_tune(tiny_bert, tmp_path, Validation(VALUES[2:]))
    with pytest.raises(WorkdirError, match="fine-tuning belongs to other data or settings"):
        fine_tune(tiny_bert, tmp_path, Validation(VALUES), changed(temperature=0.1))
