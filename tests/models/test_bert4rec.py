"""BERT4Rec: what is masked, what carries the loss, and what looks where."""

import math

import numpy as np
import pytest
import tensorflow as tf
from bert_equations import block_outputs, dense, gelu, norm

from idp_tf.errors import SettingsError
from idp_tf.layers import LAST_ALONE, ClozeMask
from idp_tf.losses import LOSSES
from idp_tf.models import BERT4Rec

NUM_ITEMS, DIM, LENGTH = 20, 8, 5


@pytest.fixture(scope="module")
def model():
    return BERT4Rec(
        NUM_ITEMS, DIM, num_layers=1, dropout=0.0, max_length=LENGTH, mask_rate=0.4, seed=1
    )


@pytest.fixture
def batch():
    """Rows [-, -, 3, 1], then 7, and [5, 9, 2, 6], then 8: shorter than the model reads."""
    return {
        "item_ids": np.array([[0, 0, 3, 1], [5, 9, 2, 6]], np.int32),
        "positive_ids": np.array([[0, 0, 1, 7], [9, 2, 6, 8]], np.int32),
        "negative_ids": np.array([[0, 0, 11, 12], [13, 14, 15, 16]], np.int32),
    }


def official_outputs(model, item_ids):
    """``BertModel`` and ``get_masked_lm_output`` of FeiSun/BERT4Rec, without dropout and bias.

    For one sequence without padding, positions counted from its end.
    """
    encoder = model.encoder
    table = np.vstack([model.item_vectors(), encoder.mask_vector.numpy()])
    hidden = table[item_ids] + encoder.positions.numpy()[: len(item_ids)][::-1]
    hidden = norm(hidden, encoder.input_norm)
    for block in encoder.blocks:
        hidden = block_outputs(hidden, block, model.num_heads)
    return norm(gelu(dense(hidden, encoder.head)), encoder.head_norm)


def test_the_forward_pass_equals_the_official_equations():
    model = BERT4Rec(NUM_ITEMS, DIM, num_layers=2, max_length=LENGTH, seed=1)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    item_ids = np.array([5, 9, NUM_ITEMS + 1, 6], np.int32)
    wanted = official_outputs(model, item_ids)
    np.testing.assert_allclose(model(item_ids[None])[0], wanted, atol=1e-5)
    assert model.encoder.blocks[0].inner.kernel.shape == (DIM, 4 * DIM)


def read_by(model, inputs, monkeypatch, training=True):
    """The ids that the encoder is given for a batch, and the batch that the loss is given."""
    seen = []
    call = model.call
    monkeypatch.setattr(
        model, "call", lambda item_ids, training: seen.append(item_ids) or call(item_ids, training)
    )
    _, used = model.training_outputs(inputs, training)
    monkeypatch.undo()
    return seen[0].numpy(), used


def test_outside_of_training_the_last_item_alone_is_masked(model, batch, monkeypatch):
    ids, used = read_by(model, batch, monkeypatch, training=False)
    mask = NUM_ITEMS + 1
    np.testing.assert_array_equal(ids, [[0, 0, 3, 1, mask], [5, 9, 2, 6, mask]])
    np.testing.assert_array_equal(used["positive_ids"], [[0, 0, 0, 7], [0, 0, 0, 8]])
    # What is compared there is what users are represented by.
    hidden, _ = model.training_outputs(batch, training=False)
    np.testing.assert_allclose(hidden[:, -1], model.encode_users(batch["item_ids"]), atol=1e-6)


def test_each_mask_stands_for_the_positive_of_its_place(model, batch, monkeypatch):
    whole = np.array([[0, 0, 3, 1, 7], [5, 9, 2, 6, 8]])
    masked = np.zeros(whole.shape, bool)
    for _ in range(20):
        ids, used = read_by(model, batch, monkeypatch)
        hidden = ids == NUM_ITEMS + 1
        np.testing.assert_array_equal(ids[~hidden], whole[~hidden])
        np.testing.assert_array_equal(used["positive_ids"], np.where(hidden, whole, 0)[:, 1:])
        assert hidden.any(axis=1).all()
        masked |= hidden
    # A user's first item has nothing to be compared with; all others had their turn.
    np.testing.assert_array_equal(masked, [[0, 0, 0, 1, 1], [0, 1, 1, 1, 1]])


def test_a_sequence_longer_than_is_read_loses_its_first_item(model, monkeypatch):
    inputs = {
        "item_ids": np.array([[1, 2, 3, 4, 5]], np.int32),
        "positive_ids": np.array([[2, 3, 4, 5, 6]], np.int32),
    }
    ids, used = read_by(model, inputs, monkeypatch, training=False)
    np.testing.assert_array_equal(ids, [[2, 3, 4, 5, NUM_ITEMS + 1]])
    np.testing.assert_array_equal(used["positive_ids"], [[0, 0, 0, 0, 6]])
    np.testing.assert_allclose(
        model.encode_users(inputs["item_ids"]), model.encode_users([[2, 3, 4, 5]]), atol=1e-6
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_masked_positions_alone_carry_the_loss(batch, loss):
    model = BERT4Rec(
        NUM_ITEMS, DIM, num_layers=1, dropout=0.0, max_length=LENGTH, loss=loss, seed=1
    )
    extra = {
        "sampled_ids": np.array([[2, 10, 11], [3, 4, 10]], np.int32),
        "sampled_log_q": np.full((2, 3), -3, np.float32),
        "positive_log_q": np.full((2, 4), -3, np.float32),
        "num_candidates": np.full(2, NUM_ITEMS, np.int32),
    }
    inputs = {**batch, **extra}
    hidden, used = model.training_outputs(inputs, training=True)
    masked = np.asarray(used["positive_ids"]) != 0
    assert not masked.all()
    gradient = _gradient_of_loss(model, hidden, used)
    assert (np.abs(gradient[masked]).sum(axis=-1) > 0).all()
    assert (gradient[~masked] == 0).all()


def _gradient_of_loss(model, hidden, used):
    with tf.GradientTape() as tape:
        tape.watch(hidden)
        loss = model.item_loss(hidden, used, model)
    return tape.gradient(loss, hidden).numpy()


@pytest.mark.parametrize("rate", [0.2, 0.6])
def test_the_share_that_is_masked(rate):
    """Each item by ``rate``, or the lowest of a row's lots, or in 1 of 11 rows the last alone."""
    users, length = 4000, 10
    chosen = ClozeMask(rate, seed=2)(tf.ones((users, length), tf.bool), training=True).numpy()
    counts = chosen.sum(axis=1)
    assert counts.min() == 1
    # A row of n items has none below the rate with the probability (1 - rate)^n: then it has one.
    expected = (1 - LAST_ALONE) * (length * rate + (1 - rate) ** length) + LAST_ALONE
    assert counts.mean() == pytest.approx(expected, rel=0.02)
    last_alone = (counts == 1) & chosen[:, -1]
    # Or by chance, one of the ten places of a single mask.
    single = (length * rate * (1 - rate) ** (length - 1) + (1 - rate) ** length) / length
    wanted = LAST_ALONE + (1 - LAST_ALONE) * single
    deviation = math.sqrt(wanted * (1 - wanted) / users)
    assert abs(last_alone.mean() - wanted) < 4 * deviation


def test_nobody_is_masked_where_there_is_nobody():
    for training in (True, False):
        chosen = ClozeMask(0.5)(tf.zeros((3, 4), tf.bool), training=training)
        assert not chosen.numpy().any()


def test_masks_repeat_after_a_restore(tmp_path):
    candidates = tf.ones((50, 8), tf.bool)
    first = BERT4Rec(NUM_ITEMS, DIM, max_length=LENGTH, seed=1)
    first.cloze(candidates, training=True)
    first.save_weights(tmp_path / "killed.weights.h5")
    wanted = [first.cloze(candidates, training=True).numpy() for _ in range(2)]
    again = BERT4Rec(NUM_ITEMS, DIM, max_length=LENGTH, seed=1)
    again.load_weights(tmp_path / "killed.weights.h5")
    for masks in wanted:
        np.testing.assert_array_equal(again.cloze(candidates, training=True), masks)
    assert not np.array_equal(*wanted)
    other = BERT4Rec(NUM_ITEMS, DIM, max_length=LENGTH, seed=2)
    other.cloze(candidates, training=True)
    assert not np.array_equal(other.cloze(candidates, training=True), wanted[0])


def test_a_later_item_changes_what_stands_before_it(model):
    history = np.array([[5, 9, 2, 6]], np.int32)
    changed = np.array([[5, 9, 2, 7]], np.int32)
    difference = np.abs(model(history) - model(changed)).max(axis=-1)
    assert (difference > 1e-4).all()


def test_the_mask_is_no_item(model):
    assert model.item_vectors().shape == (NUM_ITEMS + 1, DIM)
    history = np.array([[5, 9, NUM_ITEMS + 1]], np.int32)
    before = model(history).numpy()
    own = model.encoder.mask_vector.numpy()
    model.encoder.mask_vector.assign(own + np.eye(DIM)[0])
    assert np.abs(model(history) - before).max() > 1e-3
    model.encoder.mask_vector.assign(own)


@pytest.mark.parametrize("rate", [0.0, 1.5])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(SettingsError, match="mask_rate"):
        BERT4Rec(NUM_ITEMS, DIM, max_length=LENGTH, mask_rate=rate)
