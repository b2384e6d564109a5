"""What every sequence model must do."""

import numpy as np
import pytest
import tensorflow as tf

from idp_tf.data.batches import TrainingBatches
from idp_tf.data.sequences import Sequences
from idp_tf.errors import WorkdirError
from idp_tf.layers import IdItems, ItemEmbedding, JoinedItems, SummedItems, TitleItems
from idp_tf.losses import LOSSES
from idp_tf.models import FDSA, PeterRec, SASRec, load_model, save_model
from idp_tf.optimizers import LazyAdam

NUM_ITEMS, DIM, LENGTH, USERS = 20, 8, 6, 40


def make_sasrec(**options):
    return SASRec(NUM_ITEMS, embedding_dim=DIM, num_heads=2, max_length=LENGTH, **options)


TITLES = np.random.default_rng(0).normal(size=(NUM_ITEMS + 1, 12)).astype(np.float32)
TITLES[0] = 0


def parts(seed):
    return IdItems(NUM_ITEMS, DIM, seed=2 * seed), TitleItems(TITLES, DIM, seed=2 * seed + 1)


def make_sasrec_of_titles(seed=0, **options):
    return make_sasrec(items=parts(seed)[1], seed=seed, **options)


def make_sasrec_of_both(seed=0, **options):
    return make_sasrec(items=SummedItems(*parts(seed), title_weight=0.5), seed=seed, **options)


def make_fdsa(seed=0, **options):
    items = JoinedItems(*parts(seed))
    return FDSA(NUM_ITEMS, DIM, max_length=LENGTH, items=items, seed=seed, **options)


def make_peterrec(**options):
    """As if its patches had learned: at the start no gradient passes their zeros."""
    model = PeterRec(
        NUM_ITEMS, embedding_dim=DIM, num_heads=2, max_length=LENGTH, patch_width=4, **options
    )
    rng = np.random.default_rng(0)
    for weight in model.encoder.trainable_weights:
        weight.assign_add(rng.normal(scale=0.1, size=weight.shape))
    return model


MAKERS = [make_sasrec, make_sasrec_of_titles, make_sasrec_of_both, make_fdsa, make_peterrec]


@pytest.fixture(params=MAKERS)
def make_model(request):
    return request.param


@pytest.fixture
def history():
    return np.array([[0, 0, 3, 1, 4, 1], [5, 9, 2, 6, 5, 3]], np.int32)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    ids = rng.integers(1, NUM_ITEMS + 1, (3, 16, LENGTH), dtype=np.int32)
    ids[:, :5, :3] = 0
    return dict(zip(("item_ids", "positive_ids", "negative_ids"), ids, strict=True))


def test_shapes(make_model, history):
    model = make_model()
    assert model(history).shape == (2, LENGTH, DIM)
    assert model.encode_users(history).shape == (2, DIM)
    assert model.item_vectors().shape == (NUM_ITEMS + 1, DIM)


def test_padding_changes_nothing(make_model, history):
    model = make_model()
    np.testing.assert_allclose(
        model.encode_users(history[:1]), model.encode_users(history[:1, 2:]), atol=1e-6
    )
    # Nor does what the padding row holds.
    before = model.encode_users(history[:1]).numpy()
    for table in (part for part in model.submodules if isinstance(part, ItemEmbedding)):
        table.embeddings.assign(
            tf.tensor_scatter_nd_add(
                table.embeddings, [[0]], 100 * tf.ones_like(table.embeddings[:1])
            )
        )
    np.testing.assert_allclose(model.encode_users(history[:1]), before, atol=1e-6)


def test_the_future_changes_nothing(make_model, history):
    model = make_model()
    changed = history.copy()
    changed[:, 4:] = 7
    before, after = model(history).numpy(), model(changed).numpy()
    np.testing.assert_allclose(before[:, 2:4], after[:, 2:4], atol=1e-6)
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 1e-3


def test_order_matters(make_model, history):
    model = make_model()
    assert np.abs(model.encode_users(history) - model.encode_users(history[:, ::-1])).max() > 1e-4


def test_loss_equals_numpy(make_model, batch):
    model = make_model()
    hidden, table = model(batch["item_ids"]).numpy(), model.item_vectors().numpy()
    positive = (hidden * table[batch["positive_ids"]]).sum(-1)
    negative = (hidden * table[batch["negative_ids"]]).sum(-1)
    mask = batch["positive_ids"] != 0
    wanted = np.log1p(np.exp(negative - positive))[mask].mean()
    np.testing.assert_allclose(model.compute_loss(batch), wanted, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_fit_learns_by_every_loss(make_model, loss):
    """Each item is followed by the next one; at the end that is among the best."""
    values = 1 + (np.arange(USERS)[:, None] + np.arange(LENGTH + 3)) % NUM_ITEMS
    sequences = Sequences(
        values.ravel().astype(np.int32), np.arange(0, values.size + 1, LENGTH + 3)
    )
    model = make_model(dropout=0.0, loss=loss)
    batches = TrainingBatches(
        sequences,
        NUM_ITEMS,
        batch_size=16,
        max_length=LENGTH,
        negatives=model.item_loss.negatives,
        num_negatives=8,
    )
    model.compile(optimizer=LazyAdam(1e-2), steps_per_execution=4)
    history = model.fit(
        batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=60, verbose=0
    ).history[loss]
    assert history[-1] < 0.7 * history[0]
    scores = model.encode_users(values[:, :LENGTH]).numpy() @ model.item_vectors().numpy().T
    # What was seen is no candidate, as some losses never have it as a negative.
    np.put_along_axis(scores, values[:, :LENGTH], -np.inf, axis=1)
    scores[:, 0] = -np.inf
    own = np.take_along_axis(scores, values[:, LENGTH : LENGTH + 1], axis=1)
    # By chance the next item's place among 14 would be 7.5 on average.
    assert (scores >= own).sum(axis=1).mean() < 4


def test_fit_lowers_the_loss_and_gradients_reach_every_weight(make_model, batch):
    model = make_model(dropout=0.0)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch, training=True)
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.name
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, variable.name
    before = float(model.compute_loss(batch))
    model.compile(optimizer=LazyAdam(1e-2))
    model.fit(tf.data.Dataset.from_tensors(batch).repeat(30), epochs=1, verbose=0)
    assert float(model.compute_loss(batch)) < 0.8 * before


def test_several_steps_in_one_call_are_the_same_steps_traced_once(make_model, batch):
    models, traced = [make_model(seed=1), make_model(seed=1)], []
    for model, at_once in zip(models, (1, 3), strict=True):
        model.compile(optimizer=LazyAdam(1e-2), steps_per_execution=at_once)
        model.optimizer.build(model.trainable_variables)
        compute_loss = model.compute_loss
        model.compute_loss = lambda *a, f=compute_loss, **k: traced.append(0) or f(*a, **k)
        stream = tf.data.Dataset.from_tensors(batch).repeat()
        history = model.fit(stream, steps_per_epoch=7, epochs=2, verbose=0).history
        assert {"bpr", "loss"} <= set(history)
    assert len(traced) == 2
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_embedding_gradient_is_sparse(make_model, batch):
    model = make_model()
    if model.item_embedding is None:
        pytest.skip("it has no table of ids")
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch, training=True)
    assert isinstance(tape.gradient(loss, model.item_embedding.embeddings), tf.IndexedSlices)


def test_save_and_load_give_equal_outputs(make_model, history, tmp_path):
    model = make_model(seed=3)
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(loaded.encode_users(history), model.encode_users(history))
    np.testing.assert_array_equal(loaded.item_vectors(), model.item_vectors())


def test_loading_nothing_says_so(tmp_path):
    with pytest.raises(WorkdirError, match="no whole model"):
        load_model(tmp_path)


def test_seeds_decide_the_weights(make_model):
    first, second, other = make_model(seed=1), make_model(seed=1), make_model(seed=2)
    for ours, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(first.item_vectors(), other.item_vectors())


def test_too_long_a_history_is_refused_in_words(make_model):
    with pytest.raises(ValueError, match=f"at most max_length={LENGTH}"):
        make_model()(np.ones((1, LENGTH + 1), np.int32))
