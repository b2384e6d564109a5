"""Losses, against NumPy."""

from typing import get_args

import numpy as np
import pytest
import tensorflow as tf
from losses_in_numpy import IN_NUMPY, mean_loss

from idp_tf.config import LossName
from idp_tf.errors import SettingsError
from idp_tf.losses import LOSSES, build_loss

NUM_ITEMS, DIM, USERS, LENGTH, SAMPLED = 12, 5, 4, 6, 7


class Table:
    """Items whose vectors are the rows of a matrix."""

    def __init__(self, rows):
        self.rows = tf.constant(rows, tf.float32)

    def vectors_of(self, item_ids):
        return tf.gather(self.rows, item_ids)

    def item_vectors(self):
        return self.rows


@pytest.fixture
def case():
    """What the encoder gave, a batch that has every kind of negatives, and the items."""
    rng = np.random.default_rng(0)
    positive_ids = rng.integers(1, NUM_ITEMS + 1, (USERS, LENGTH))
    positive_ids[0, :3] = 0
    batch = {
        "positive_ids": positive_ids,
        "negative_ids": rng.integers(1, NUM_ITEMS + 1, (USERS, LENGTH)) * (positive_ids > 0),
        "sampled_ids": rng.integers(1, NUM_ITEMS + 1, (USERS, SAMPLED)),
        "num_candidates": np.array([NUM_ITEMS, NUM_ITEMS, 9, 20]),
        "sampled_log_q": np.log(rng.uniform(0.1, 1, (USERS, SAMPLED))).astype(np.float32),
        "positive_log_q": np.log(rng.uniform(0.1, 1, (USERS, LENGTH))).astype(np.float32),
    }
    hidden, table = rng.normal(size=(USERS, LENGTH, DIM)), rng.normal(size=(NUM_ITEMS + 1, DIM))
    return hidden, batch, table


def test_every_loss_is_tested_and_is_a_setting():
    assert set(IN_NUMPY) == set(LOSSES) == set(get_args(LossName))


@pytest.mark.parametrize("name", IN_NUMPY)
def test_it_is_the_mean_over_positions_with_a_positive(name, case):
    hidden, batch, table = case
    tensors = {key: tf.constant(value) for key, value in batch.items()}
    found = build_loss(name)(tf.constant(hidden, tf.float32), tensors, Table(table))
    np.testing.assert_allclose(found, mean_loss(name, hidden, table, batch), rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_of_nothing_it_is_zero(name, case):
    hidden, batch, table = case
    tensors = {key: tf.zeros_like(value) for key, value in batch.items()}
    assert float(build_loss(name)(tf.constant(hidden, tf.float32), tensors, Table(table))) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_it_does_not_overflow(name, case):
    hidden, batch, table = case
    tensors = {key: tf.constant(value) for key, value in batch.items()}
    loss = build_loss(name)(tf.constant(1e4 * hidden, tf.float32), tensors, Table(table))
    assert np.isfinite(loss)


def test_gbce_of_all_candidates_is_binary_cross_entropy(case):
    # With every other candidate drawn there is nothing to calibrate: the power is 1, and positives
    # are one to so many.
    hidden, batch, table = case
    batch["num_candidates"][:] = SAMPLED + 1
    positive = np.einsum("bld,bld->bl", hidden, table[batch["positive_ids"]])
    sampled = np.einsum("bld,bnd->bln", hidden, table[batch["sampled_ids"]])
    positive, sampled = positive - np.log(SAMPLED), sampled - np.log(SAMPLED)
    own = batch["sampled_ids"][:, None] == batch["positive_ids"][..., None]
    losses = np.log1p(np.exp(-positive)) + np.where(own, 0, np.log1p(np.exp(sampled))).sum(-1)
    wanted = (losses / (SAMPLED + 1))[batch["positive_ids"] > 0].mean()
    tensors = {key: tf.constant(value) for key, value in batch.items()}
    found = build_loss("gbce")(tf.constant(hidden, tf.float32), tensors, Table(table))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_gbce_asks_for_no_other_scores_of_all_items_at_the_start(case):
    """How rare positives are is known; what is to be learned is which items they are."""
    hidden, batch, table = case
    batch["sampled_ids"][:] = batch["positive_ids"].max() + 1  # none of them a positive
    alike = np.ones((batch["sampled_ids"].max() + 1, table.shape[1]), np.float32)
    tensors = {key: tf.constant(value) for key, value in batch.items()}
    users = tf.Variable(tf.zeros(hidden.shape))
    with tf.GradientTape() as tape:
        loss = build_loss("gbce")(tf.convert_to_tensor(users), tensors, Table(alike))
    assert loss > 0
    np.testing.assert_allclose(tape.gradient(loss, users), 0, atol=1e-7)


def test_an_unknown_loss_names_the_known_ones():
    with pytest.raises(SettingsError, match="gbce"):
        build_loss("hinge")
