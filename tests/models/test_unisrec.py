"""UniSRec: cosines over titles, what is fixed, and how it is pre-trained."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from bert_equations import block_outputs, norm

from idp_tf.config import TrainSettings
from idp_tf.data.batches import TrainingBatches
from idp_tf.data.sequences import Sequences
from idp_tf.errors import SettingsError
from idp_tf.evaluation import model_scorer
from idp_tf.layers import IdItems, JoinedItems, MoEAdaptor, SummedItems, TitleItems
from idp_tf.models import SASRec, UniSRec, UniSRecPretraining, load_model, save_model
from idp_tf.models.training import train
from idp_tf.optimizers import LazyAdam
from idp_tf.workflow.validation import build_validation

NUM_ITEMS, WIDTH, DIM, LENGTH, TEMPERATURE = 14, 6, 8, 5, 0.07
SMALL = {"embedding_dim": DIM, "max_length": LENGTH}
HISTORY = np.array([[5, 9, 2, 6, 3], [1, 4, 1, 8, 7]], np.int32)
KINDS = ("text", "id+text")


def title_vectors(num_items=NUM_ITEMS, width=WIDTH):
    vectors = np.random.default_rng(0).normal(size=(num_items + 1, width)).astype(np.float32)
    vectors[0] = 0
    return vectors


def make_items(kind, num_items=NUM_ITEMS, dropout=0.2):
    """Without any dropout there is no noise either."""
    adaptor = MoEAdaptor(DIM, num_experts=3, dropout=dropout, noise=dropout > 0, seed=1)
    titles = TitleItems(title_vectors(num_items), DIM, adaptor)
    return titles if kind == "text" else SummedItems(IdItems(num_items, DIM, seed=2), titles)


def make_model(kind="text", model_class=UniSRec, num_items=NUM_ITEMS, **options):
    """One whose weights are all away from their starts."""
    items = make_items(kind, num_items, options.get("dropout", 0.2))
    model = model_class(num_items, items=items, **{**SMALL, **options})
    rng = np.random.default_rng(3)
    for weight in [*model.encoder.learned_weights, *model.items.adaptor.trainable_weights]:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    return model


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def raw_vectors(model, kind):
    """The official ``MoEAdaptorLayer`` over all titles, and ids where there are any."""
    titles, adaptor = title_vectors(), model.items.adaptor
    gate = np.exp(titles @ adaptor.gate_kernel.numpy())
    gate /= gate.sum(axis=1, keepdims=True)
    experts = [(titles - e.shift.numpy()) @ e.kernel.numpy() for e in adaptor.experts]
    vectors = sum(gate[:, k, None] * experts[k] for k in range(len(experts)))
    return vectors if kind == "text" else vectors + model.items.ids.embeddings.numpy()


def official_outputs(model, vectors, history):
    """``forward`` of the official code for one history, positions counted from its end."""
    positions = model.encoder.positions.numpy()[: len(history)][::-1]
    hidden = norm(vectors[history] + positions, model.encoder.input_norm)
    for block in model.encoder.blocks:
        hidden = block_outputs(hidden, block, model.num_heads, causal=True)
    return hidden


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_official_ones(kind):
    model = make_model(kind)
    vectors = raw_vectors(model, kind)
    outputs = np.stack([official_outputs(model, vectors, history) for history in HISTORY])
    np.testing.assert_allclose(model(HISTORY), unit(outputs) / TEMPERATURE, atol=1e-4)
    np.testing.assert_allclose(model.vectors_of(HISTORY), unit(vectors)[HISTORY], atol=1e-5)
    np.testing.assert_allclose(model.item_vectors()[1:], unit(vectors)[1:], atol=1e-5)
    # Fine-tuning: cross-entropy over cosines, here at every position.
    scores = unit(outputs) @ unit(vectors)[1:].T / TEMPERATURE
    positive_ids = HISTORY[:, ::-1].copy()
    right = np.take_along_axis(scores, positive_ids[..., None] - 1, axis=-1)[..., 0]
    wanted = (np.log(np.exp(scores).sum(axis=-1)) - right).mean()
    tuned = make_model(kind, loss="cross-entropy")
    batch = {"item_ids": HISTORY, "positive_ids": positive_ids}
    np.testing.assert_allclose(tuned.compute_loss(batch), wanted, rtol=1e-4)


def pretraining_by_hand(model, dropped, item_ids, positive_ids):
    """Row by row; ``dropped`` are the histories that stand in for the augmented ones."""
    users, items = model(item_ids).numpy() * TEMPERATURE, model.item_vectors().numpy()
    augmented = model(dropped).numpy()[:, -1] * TEMPERATURE
    rows = np.argwhere(positive_ids)
    losses = []
    for user, place in rows:
        own = positive_ids[user, place]
        others = [
            positive_ids[u, p] for u, p in rows if u != user and positive_ids[u, p] not in (0, own)
        ]
        scores = users[user, place] @ items[[own, *others]].T / TEMPERATURE
        losses.append(np.log(np.exp(scores).sum()) - scores[0])
    last, to_sequences = positive_ids[:, -1], []
    for user, own in enumerate(last):
        others = [u for u, other in enumerate(last) if u == user or other != own]
        scores = augmented @ users[user, -1] / TEMPERATURE
        to_sequences.append(np.log(np.exp(scores[others]).sum()) - scores[user])
    return np.mean(losses), np.mean(to_sequences)


LAST = np.array([7, 7, 10], np.int32)


def pretraining_batch():
    """The second user's second positive, and its last one, are the first user's too."""
    item_ids = np.array([[0, 0, 3, 1, 9], [5, 9, 2, 6, 4], [0, 7, 8, 1, 2]], np.int32)
    positive_ids = np.array([[0, 0, 1, 9, 7], [9, 2, 6, 4, 7], [0, 8, 1, 2, 10]], np.int32)
    return {"item_ids": item_ids, "positive_ids": positive_ids}


def test_the_pretraining_loss_equals_numpy():
    batch = pretraining_batch()
    options = {"drop_rate": 0.4, "dropout": 0.0, "seed": 4}
    model = make_model(model_class=UniSRecPretraining, **options)
    dropped = model.item_drop(batch["item_ids"]).numpy()
    assert not np.array_equal(dropped, batch["item_ids"])
    model.item_drop.calls.assign(0)
    to_items, to_sequences = pretraining_by_hand(model, dropped, **batch)
    np.testing.assert_allclose(model.compute_loss(batch), to_items, rtol=1e-4)
    added = model.added_loss(*model.training_outputs(batch, training=True))
    np.testing.assert_allclose(added, 1e-3 * to_sequences, rtol=1e-4)
    model.item_drop.calls.assign(0)
    whole = to_items + 1e-3 * to_sequences
    np.testing.assert_allclose(model.compute_loss(batch, training=True), whole, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_makes_each_item_once(kind):
    """So the dropout and the noise of an item are the same wherever it stands."""
    batch = pretraining_batch()
    model = make_model(kind, UniSRecPretraining, dropout=0.5)
    model.compute_loss(batch, training=True)
    assert model.items.adaptor.draws.calls == 1
    _, used = model.training_outputs(batch, training=True)
    np.testing.assert_array_equal(used["distinct_ids"], range(11))
    assert not used["distinct_vectors"][0].numpy().any()
    made = unit(used["distinct_vectors"][1:].numpy())
    assert np.abs(made - model.item_vectors()[1:11]).max() > 0.1
    found = model.items_of_step(used, training=True).vectors_of(HISTORY)
    np.testing.assert_allclose(found, made[HISTORY - 1], atol=1e-6)


def test_a_bounded_number_of_rows_is_pretrained_on():
    batch = pretraining_batch()
    model = make_model(model_class=UniSRecPretraining, max_rows=4)
    kept = [model.training_outputs(batch, training=True)[1] for _ in range(2)]
    for used in kept:
        assert np.count_nonzero(used["positive_ids"]) == 4
        np.testing.assert_array_equal(used["last_ids"], LAST)
    assert not np.array_equal(kept[0]["positive_ids"], kept[1]["positive_ids"])
    assert model.item_loss.negatives == "none"
    # What a replica without a user gets.
    nobody = {name: ids[:1] * 0 for name, ids in batch.items()}
    assert model.compute_loss(nobody, training=True) == 0


def without_titles(model, *item_ids):
    rows = tf.constant(title_vectors() * ~np.isin(np.arange(NUM_ITEMS + 1), item_ids)[:, None])
    model.items.titles.embeddings.assign(rows)


def test_text_only_an_item_without_a_title_is_near_to_nobody_and_pretrains_nothing():
    batch = pretraining_batch()
    model = make_model(model_class=UniSRecPretraining, drop_rate=0.0)
    without_titles(model, 2, 9)
    scores = model.encode_users(HISTORY).numpy() @ model.item_vectors().numpy().T
    assert (scores[:, [2, 9]] == 0).all()
    counted = np.where(np.isin(batch["positive_ids"], (2, 9)), 0, batch["positive_ids"])
    wanted, _ = pretraining_by_hand(model, batch["item_ids"], batch["item_ids"], counted)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch)
    np.testing.assert_allclose(loss, wanted, rtol=1e-4)
    for gradient in tape.gradient(loss, model.trainable_variables):
        if gradient is not None:
            assert np.isfinite(gradient).all() and np.abs(gradient).max() < 1e3


def test_with_ids_an_item_without_a_title_is_its_id():
    model = make_model("id+text")
    model.items.titles.titles.embeddings.assign(title_vectors() * 0)
    wanted = unit(model.items.ids.embeddings.numpy())
    np.testing.assert_allclose(model.item_vectors(), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fixed_encoder_stays_while_adaptor_and_ids_move(kind, tmp_path):
    rng = np.random.default_rng(0)
    ids = rng.integers(1, NUM_ITEMS + 1, (2, 16, LENGTH), dtype=np.int32)
    batch = dict(zip(("item_ids", "positive_ids"), ids, strict=True))
    save_model(make_model(kind, fix_encoder=True, loss="cross-entropy"), tmp_path)
    model = load_model(tmp_path)
    assert model.get_config()["fix_encoder"] is True
    before = {id(weight): weight.numpy() for weight in model.weights}
    model.compile(optimizer=LazyAdam(1e-2))
    # Variables that appear in the first step would have it traced twice.
    model.optimizer.build(model.trainable_variables)
    model.fit(tf.data.Dataset.from_tensors(batch).repeat(3), epochs=1, verbose=0)
    moved = {id(w) for w in model.trainable_weights if not np.array_equal(w, before[id(w)])}
    input_norm = model.encoder.input_norm.weights
    tuned = [*model.items.adaptor.trainable_weights, *input_norm]
    tuned += [] if kind == "text" else model.items.ids.weights
    assert moved == {id(weight) for weight in tuned} == {id(w) for w in model.trainable_weights}
    # Positions, and in each of two layers attention, network and norms.
    frozen = [w for w in model.encoder.learned_weights if id(w) not in moved]
    assert len(frozen) == 1 + 2 * 12
    for weight in frozen:
        np.testing.assert_array_equal(weight, before[id(weight)])


def test_files_of_weights_fit_models_with_and_without_a_fixed_encoder(tmp_path):
    model = make_model("id+text")
    model.save_weights(tmp_path / "free.weights.h5")
    fixed = make_model("id+text", fix_encoder=True, seed=9)
    fixed.load_weights(tmp_path / "free.weights.h5")
    np.testing.assert_array_equal(fixed(HISTORY), model(HISTORY))


@pytest.mark.parametrize("fix_encoder", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_encoder_and_adaptor_over(kind, fix_encoder):
    source = make_model(model_class=UniSRecPretraining, num_items=30)
    items = make_items(kind)
    target = UniSRec(NUM_ITEMS, items=items, fix_encoder=fix_encoder, seed=8, **SMALL)
    ids = items.ids and items.ids.embeddings.numpy()
    target.take_over(source)
    inputs, mask = tf.random.stateless_normal((2, LENGTH, DIM), (0, 1)), HISTORY != 0
    wanted = source.encoder(inputs, padding_mask=mask)
    np.testing.assert_array_equal(target.encoder(inputs, padding_mask=mask), wanted)
    titles = tf.constant(title_vectors())
    np.testing.assert_array_equal(target.items.adaptor(titles), source.items.adaptor(titles))
    if ids is not None:
        np.testing.assert_array_equal(target.items.ids.embeddings, ids)


def test_another_class_is_not_taken_over():
    with pytest.raises(SettingsError, match="a UniSRec cannot start from a SASRec"):
        make_model().take_over(SASRec(NUM_ITEMS, **SMALL))


@pytest.mark.parametrize(
    "items",
    [
        lambda: None,
        lambda: IdItems(NUM_ITEMS, DIM),
        lambda: JoinedItems(IdItems(NUM_ITEMS, DIM), make_items("text")),
    ],
)
@pytest.mark.parametrize("model_class", [UniSRec, UniSRecPretraining])
def test_items_without_titles_are_refused(model_class, items):
    with pytest.raises(SettingsError, match="(?s)none are given.*MoEAdaptor.*SASRec"):
        model_class(NUM_ITEMS, items=items(), **SMALL)


DOMAIN, TASTES, USERS, SEEN = 40, 4, 80, 8
TOY_LENGTH = 6


class Killed(Exception):
    """Stands for kill -9."""


@pytest.fixture(scope="module")
def toy():
    """Two domains; a user keeps to one taste, which titles name. Sequences, titles, ranges."""
    rng = np.random.default_rng(0)
    tastes = np.arange(2 * DOMAIN) % TASTES
    titles = rng.normal(0, 0.3, (2 * DOMAIN + 1, WIDTH))
    titles[1:, :TASTES] += np.eye(TASTES)[tastes]
    titles[0] = 0
    first = np.repeat([1, 1 + DOMAIN], USERS // 2)
    values = []
    for user, low in enumerate(first):
        likely = np.where(tastes[:DOMAIN] == user % TASTES, 0.9 / 10, 0.1 / 30)
        values += list(low + rng.choice(DOMAIN, SEEN, replace=False, p=likely))
    offsets = np.arange(0, USERS * SEEN + 1, SEEN)
    sequences = Sequences(np.array(values, np.int32), offsets)
    return sequences, titles, np.stack([first, first + DOMAIN - 1], axis=1)


def pretrain(toy, folder, epochs, dropout=0.2, die_after=None, callbacks=()):
    sequences, titles, ranges = toy
    adaptor = MoEAdaptor(DIM, num_experts=2, dropout=dropout, noise=dropout > 0, seed=5)
    model = UniSRecPretraining(
        2 * DOMAIN,
        DIM,
        num_layers=1,
        max_length=TOY_LENGTH,
        max_rows=64,
        dropout=dropout,
        items=TitleItems(titles, DIM, adaptor),
        seed=1,
    )
    batches = TrainingBatches(
        sequences,
        2 * DOMAIN,
        batch_size=20,
        max_length=TOY_LENGTH,
        negatives=model.item_loss.negatives,
    )
    validation = build_validation(
        lambda: model_scorer(model, "validation"),
        sequences,
        ranges,
        num_items=model.num_items,
        max_users=80,
        negatives=10,
        seed=0,
    )
    before, calls = validation(), []

    def validate():
        if len(calls) == die_after:
            raise Killed
        calls.append(0)
        return validation()

    settings = TrainSettings(learning_rate=1e-2, epochs=epochs, patience=epochs)
    state = train(
        model,
        batches,
        settings,
        validate=validate,
        folder=folder,
        name="toy",
        callbacks=callbacks,
    )
    return model, state, before


def test_pretraining_learns(toy, tmp_path):
    _, state, before = pretrain(toy, tmp_path, epochs=25, dropout=0.0)
    # Titles say something untrained, too.
    assert state.best_value > before + 0.1 > 0.6
    assert state.history["loss"][-1] < 0.7 * state.history["loss"][0]


def test_pretraining_logs_its_loss_by_that_losss_name(toy, tmp_path):
    logged = {}
    note = tf_keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: logged.update(logs))
    _, state, _ = pretrain(toy, tmp_path, epochs=1, callbacks=(note,))
    assert logged["in-batch-contrastive"] == state.history["loss"][0] > 0
    assert "bpr" not in logged


@pytest.mark.slow
def test_a_killed_pretraining_ends_as_an_undisturbed_one(toy, tmp_path):
    whole, state, _ = pretrain(toy, tmp_path / "whole", epochs=4)
    with pytest.raises(Killed):
        pretrain(toy, tmp_path / "killed", epochs=4, die_after=2)
    resumed, again, _ = pretrain(toy, tmp_path / "killed", epochs=4)
    assert again.history["loss"] == state.history["loss"]
    assert again.best_value == state.best_value
    for ours, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_pretrained_model_is_whole_in_its_folder(tmp_path):
    model = make_model(model_class=UniSRecPretraining, drop_rate=0.3, max_rows=7)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.get_config() == model.get_config()
    assert (loaded.item_drop.rate, loaded.row_sample.most) == (0.3, 7)
    np.testing.assert_array_equal(loaded.encode_users(HISTORY), model.encode_users(HISTORY))
