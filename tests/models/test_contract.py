"""What every sequence model must do."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from every_model import (
    DIM,
    LENGTH,
    MAKERS,
    NUM_ITEMS,
    make_bert4rec,
    make_dacdr_pretraining,
    make_fdsa,
    make_gru4rec,
    make_peterrec,
    make_sasrec,
    make_sasrec_of_both,
    make_sasrec_of_titles,
    make_unisrec_pretraining,
    parts,
)
from exported import in_process, served
from losses_in_numpy import mean_loss

from idp_tf.data.batches import TrainingBatches
from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import SettingsError, WorkdirError
from idp_tf.layers import IdItems, ItemEmbedding
from idp_tf.losses import LOSSES, build_loss
from idp_tf.models import UniSRecPretraining, load_model, save_model
from idp_tf.optimizers import LazyAdam
from serving.export import export_recommender

USERS = 40


@pytest.fixture(params=MAKERS, scope="module")
def make_model(request):
    return request.param


@pytest.fixture(scope="module")
def model(make_model):
    """One that no test changes."""
    return make_model(dropout=0.0, seed=3)


@pytest.fixture(scope="module")
def history():
    return np.array([[0, 0, 3, 1, 4, 1], [5, 9, 2, 6, 5, 3]], np.int32)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    ids = rng.integers(1, NUM_ITEMS + 1, (3, 16, LENGTH), dtype=np.int32)
    ids[:, :5, :3] = 0
    return dict(zip(("item_ids", "positive_ids", "negative_ids"), ids, strict=True))


@pytest.fixture(scope="module")
def batch_for_any_loss(batch):
    rng = np.random.default_rng(1)
    return batch | {
        "sampled_ids": rng.integers(1, NUM_ITEMS + 1, (16, 7), dtype=np.int32),
        "num_candidates": rng.integers(8, NUM_ITEMS + 1, 16),
        "sampled_log_q": np.log(rng.uniform(0.1, 1, (16, 7))).astype(np.float32),
        "positive_log_q": np.log(rng.uniform(0.1, 1, (16, LENGTH))).astype(np.float32),
    }


def test_shapes(model, history):
    assert model(history).shape == (2, LENGTH, DIM)
    assert model.encode_users(history).shape == (2, DIM)
    assert model.item_vectors().shape == (NUM_ITEMS + 1, DIM)


def test_padding_changes_nothing(model, history):
    before = model.encode_users(history[:1]).numpy()
    np.testing.assert_allclose(before, model.encode_users(history[:1, 2:]), atol=1e-6)
    np.testing.assert_allclose(model(history)[:1, 2:], model(history[:1, 2:]), atol=1e-6)
    # Nor does what the padding row holds.
    tables = [part for part in model.submodules if isinstance(part, ItemEmbedding)]
    kept = [table.get_weights() for table in tables]
    for table, (values,) in zip(tables, kept, strict=True):
        table.set_weights([np.vstack([np.full_like(values[:1], 100.0), values[1:]])])
    after = model.encode_users(history[:1]).numpy()
    for table, values in zip(tables, kept, strict=True):
        table.set_weights(values)
    assert tables
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_the_future_changes_nothing_where_a_model_is_causal(model, history):
    if not model.causal:
        with pytest.raises(SettingsError, match="encode_users"):
            model.encode_prefixes(history)
        return
    changed = history.copy()
    changed[:, 4:] = 7
    before, after = (model.encode_prefixes(ids).numpy() for ids in (history, changed))
    np.testing.assert_allclose(before[:, 2:4], after[:, 2:4], atol=1e-6)
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 1e-3
    np.testing.assert_allclose(before[:, -1], model.encode_users(history), atol=1e-6)


@pytest.mark.parametrize("width", [LENGTH, LENGTH - 2])
def test_vectors_of_ids_are_read_as_the_ids(model, history, width):
    ids = np.asarray(history)[:, -width:]
    if not isinstance(model.items, IdItems):
        with pytest.raises(SettingsError, match="more of an item than the vector of its id"):
            model.encode_vectors(tf.zeros([*ids.shape, DIM]), tf.constant(ids != 0))
        return
    table = model.items.table().numpy()
    table[0] = 7.0  # whatever stands at padding, nothing of it is read
    read = model.encode_vectors(tf.constant(table[ids]), tf.constant(ids != 0))
    np.testing.assert_allclose(read, model.encode_users(ids), atol=1e-5)


def test_order_matters(model, history):
    assert np.abs(model.encode_users(history) - model.encode_users(history[:, ::-1])).max() > 1e-4


def in_batch_contrastive(hidden, table, positive_ids):
    """Scores are cosines over 0.07 here; another user's next item is a negative, if another."""
    users, places = np.nonzero(positive_ids)
    following = positive_ids[users, places]
    scores = hidden[users, places] @ table[following].T
    left_out = (users[:, None] == users) | (following[:, None] == following)
    np.fill_diagonal(left_out, False)
    totals = np.exp(np.where(left_out, -np.inf, scores)).sum(axis=1)
    return (np.log(totals) - np.diag(scores)).mean()


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_equals_numpy(model, batch_for_any_loss, loss, monkeypatch):
    batch = batch_for_any_loss
    if not has_a_loss_of_its_own(model):
        monkeypatch.setattr(model, "item_loss", build_loss(loss))
    hidden, used = model.training_outputs(batch, training=False)
    assert hidden.shape == (*batch["positive_ids"].shape, DIM)
    hidden, table = hidden.numpy(), model.item_vectors().numpy()
    positive_ids = np.asarray(used["positive_ids"])
    wanted = (
        in_batch_contrastive(hidden, table, positive_ids)
        if has_a_loss_of_its_own(model)
        else mean_loss(loss, hidden, table, batch | {"positive_ids": positive_ids})
    )
    np.testing.assert_allclose(model.compute_loss(batch), wanted, rtol=1e-5)


def has_a_loss_of_its_own(model):
    """By its paper, so that it is trained by that whatever ``loss`` is."""
    return isinstance(model, UniSRecPretraining)


def compiled(model, rate, at_once=1):
    """As ``train`` compiles; variables that appear in the first step would have it traced twice."""
    model.compile(optimizer=LazyAdam(rate), steps_per_execution=at_once)
    model.optimizer.build(model.trainable_variables)
    return model


def test_fit_learns(make_model):
    assert_fit_learns(make_model, "bpr")


# A loss sees of a model its outputs, and vectors of items: of one item a position, of some a user,
# or of all. So all the losses are fit with a model that hides nothing and with one that masks, and
# one of each kind with every kind of items, and when there is time with every model; what a loss
# is of, test_every_loss_equals_numpy tells for all.
OF_EACH_KIND = ("sampled-softmax", "cross-entropy")
OF_ALL_ITEMS = (make_sasrec_of_titles, make_sasrec_of_both, make_fdsa)
FOR_ALL_LOSSES = (make_sasrec, make_bert4rec)


@pytest.mark.parametrize("loss", OF_EACH_KIND)
@pytest.mark.parametrize(
    "maker",
    [
        pytest.param(maker, marks=[] if maker in OF_ALL_ITEMS else [pytest.mark.slow])
        for maker in MAKERS
        if maker not in (*FOR_ALL_LOSSES, make_unisrec_pretraining)
    ],
)
def test_fit_learns_by_every_kind_of_loss(maker, loss):
    assert_fit_learns(maker, loss)


@pytest.mark.parametrize("loss", sorted({*LOSSES} - {"bpr"}))
@pytest.mark.parametrize("maker", FOR_ALL_LOSSES)
def test_fit_learns_by_every_other_loss(maker, loss):
    assert_fit_learns(maker, loss)


def assert_fit_learns(make_model, loss):
    """Each item is followed by the next one; at the end that is among the best."""
    values = 1 + (np.arange(USERS)[:, None] + np.arange(LENGTH + 3)) % NUM_ITEMS
    sequences = Sequences(
        values.ravel().astype(np.int32), np.arange(0, values.size + 1, LENGTH + 3)
    )
    model = make_model(dropout=0.0, loss=loss, embedding_dim=32)
    if has_a_loss_of_its_own(model):
        loss = "in-batch-contrastive"
    batches = TrainingBatches(
        sequences,
        NUM_ITEMS,
        batch_size=USERS,
        max_length=LENGTH,
        negatives=model.item_loss.negatives,
        num_negatives=8,
    )
    compiled(model, 5e-3, at_once=10)
    history = model.fit(batches.dataset(), steps_per_epoch=10, epochs=15, verbose=0).history
    assert history[loss][-1] < 0.8 * history[loss][0]
    scores = model.encode_users(values[:, :LENGTH]).numpy() @ model.item_vectors().numpy().T
    # What was seen is no candidate, as some losses never have it as a negative.
    np.put_along_axis(scores, values[:, :LENGTH], -np.inf, axis=1)
    scores[:, 0] = -np.inf
    own = np.take_along_axis(scores, values[:, LENGTH : LENGTH + 1], axis=1)
    # By chance the next item's place among 14 would be 7.5 on average.
    assert (scores >= own).sum(axis=1).mean() < 4


def test_gradients_reach_every_weight(model, batch):
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch, training=True)
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.name
        # That of the table touches the rows of the batch only.
        sparse = model.item_embedding is not None and variable is model.item_embedding.embeddings
        assert isinstance(gradient, tf.IndexedSlices) is sparse
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, variable.name


# What goes into a step beside the loss is a mask, an adversary, or a loss of its own.
OF_EACH_STEP = (make_sasrec, make_bert4rec, make_dacdr_pretraining, make_unisrec_pretraining)


@pytest.mark.parametrize(
    "maker",
    [
        pytest.param(maker, marks=[] if maker in OF_EACH_STEP else [pytest.mark.slow])
        for maker in MAKERS
    ],
)
def test_several_steps_in_one_call_are_the_same_steps_traced_once(maker, batch):
    models, traced = [maker(seed=1), maker(seed=1)], []
    for model, at_once in zip(models, (1, 3), strict=True):
        compiled(model, 1e-2, at_once)
        compute_loss = model.compute_loss
        model.compute_loss = lambda *a, f=compute_loss, **k: traced.append(0) or f(*a, **k)
        stream = tf.data.Dataset.from_tensors(batch).repeat()
        history = model.fit(stream, steps_per_epoch=7, epochs=2, verbose=0).history
        name = "in-batch-contrastive" if has_a_loss_of_its_own(model) else "bpr"
        assert {name, "loss"} <= set(history)
    assert len(traced) == 2
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        # Keys' biases have no gradient but rounding, of which Adam makes something.
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_save_and_load_give_equal_outputs(model, history, tmp_path):
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert type(loaded) is type(model)
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(loaded.encode_users(history), model.encode_users(history))
    np.testing.assert_array_equal(loaded.item_vectors(), model.item_vectors())


def test_a_reloaded_model_trains_on_as_one_that_was_not_stopped(make_model, batch, tmp_path):
    """Its dropout, and whatever else it draws, goes on where it was."""
    model = make_model(dropout=0.5)
    first = float(model.compute_loss(batch, training=True))
    model.save_weights(tmp_path / "stopped.weights.h5")
    second = float(model.compute_loss(batch, training=True))
    again = make_model(dropout=0.5)
    again.load_weights(tmp_path / "stopped.weights.h5")
    assert float(again.compute_loss(batch, training=True)) == second != first


def test_config_round_trip(make_model):
    model = make_model(dropout=0.3, loss="gbce", seed=4)
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert again.get_config().items() >= {"dropout": 0.3, "loss": "gbce", "seed": 4}.items()


def test_mixed_precision(make_model, model, history, batch):
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = make_model(dropout=0.0, seed=3, loss="cross-entropy")
        users = mixed.encode_users(history)
        assert users.dtype == mixed.item_vectors().dtype == tf.float32
        # bfloat16 has 8 bits: three in a thousand, some operations long.
        wanted = model.encode_users(history).numpy()
        np.testing.assert_allclose(users, wanted, atol=0.03 * np.abs(wanted).max())
        compiled(mixed, 1e-2)
        before = [variable.numpy() for variable in mixed.trainable_variables]
        losses = mixed.fit(tf.data.Dataset.from_tensors(batch), verbose=0).history["loss"]
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(losses).all()
    for variable, old in zip(mixed.trainable_variables, before, strict=True):
        assert variable.dtype == tf.float32
        assert np.isfinite(variable).all() and not np.array_equal(variable, old)


def test_an_export_answers_as_the_model(model, tmp_path):
    """By the exporter that serves it, in a session as a server has it."""
    names = [f"item-{7 * item % NUM_ITEMS}" for item in range(NUM_ITEMS)]
    histories = [names[3:4], [names[4], "nobody", *names[8:10]], names[: LENGTH + 3]]
    k = NUM_ITEMS - len(histories[-1])
    version = export_recommender(model, IdMap(names), tmp_path)
    ids, scores = served(version, histories, k)
    wanted_ids, wanted_scores = in_process(model, names, histories, k)
    assert ids == wanted_ids
    np.testing.assert_allclose(scores, wanted_scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("maker", [make_gru4rec, make_bert4rec, make_peterrec])
def test_every_model_takes_items(maker, history, tmp_path):
    """Its own initial table, where it has one, gives way."""
    model = maker(items=parts()[1])
    assert model.item_embedding is None
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.encode_users(history), model.encode_users(history))


def test_loading_nothing_says_so(tmp_path):
    with pytest.raises(WorkdirError, match="no whole model"):
        load_model(tmp_path)


def test_seeds_decide_the_weights(make_model):
    first, second, other = make_model(seed=1), make_model(seed=1), make_model(seed=2)
    for ours, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(first.item_vectors(), other.item_vectors())


def test_too_long_a_history_is_refused_in_words(model):
    with pytest.raises(ValueError, match=f"at most max_length={LENGTH}"):
        model(np.ones((1, LENGTH + 1), np.int32))
