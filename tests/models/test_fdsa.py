"""FDSA: two levels, joined; and models whose items have titles."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from idp_tf.errors import SettingsError
from idp_tf.layers import (
    FixedProjection,
    IdItems,
    JoinedItems,
    SummedItems,
    TitleItems,
    fit_pca,
)
from idp_tf.models import FDSA, SASRec, load_model, save_model

NUM_ITEMS, WIDTH, DIM, LENGTH = 10, 6, 4, 5
HISTORY = np.array([[0, 0, 3, 1, 4], [5, 9, 2, 6, 5]], np.int32)


def title_vectors(num_items=NUM_ITEMS):
    vectors = np.random.default_rng(0).normal(size=(num_items + 1, WIDTH)).astype(np.float32)
    vectors[0] = 0
    return vectors


def make_fdsa(**options):
    items = JoinedItems(IdItems(NUM_ITEMS, DIM, seed=1), TitleItems(title_vectors(), DIM, seed=2))
    return FDSA(NUM_ITEMS, DIM, max_length=LENGTH, items=items, **options)


def test_users_are_a_layer_over_both_encoders():
    model = make_fdsa()
    model.encoder.output_projection.bias.assign([1.0, 2.0, 3.0, 4.0])
    mask = HISTORY != 0
    kernel, bias = (weight.numpy() for weight in model.items.titles.adaptor.weights)
    ids = model.item_embedding.embeddings.numpy()[HISTORY] * mask[..., None]
    titles = (title_vectors() @ kernel + bias)[HISTORY] * mask[..., None]
    by_items = model.encoder.item_encoder(tf.constant(ids), padding_mask=mask)
    by_features = model.encoder.feature_encoder(tf.constant(titles), padding_mask=mask)
    kernel, bias = (weight.numpy() for weight in model.encoder.output_projection.weights)
    wanted = np.concatenate([by_items, by_features], axis=-1) @ kernel + bias
    np.testing.assert_allclose(model(HISTORY), wanted, atol=1e-5)


def test_items_are_scored_by_their_ids():
    model = make_fdsa()
    table = model.item_embedding.embeddings
    np.testing.assert_array_equal(model.item_vectors(), table)
    np.testing.assert_array_equal(model.vectors_of(HISTORY), table.numpy()[HISTORY])


@pytest.mark.parametrize("part", ["ids", "titles"])
def test_users_depend_on_ids_and_on_titles(part):
    """Changed for an item of the first user's alone."""
    model = make_fdsa()
    before = model.encode_users(HISTORY).numpy()
    layer = model.items.ids if part == "ids" else model.items.titles.titles
    rows = tf.one_hot([4], NUM_ITEMS + 1, axis=0)
    layer.embeddings.assign_add(rows * tf.random.stateless_normal((1, layer.output_dim), (0, 1)))
    moved = np.abs(model.encode_users(HISTORY) - before).max(axis=1)
    assert moved[0] > 1e-3 and moved[1] == 0


def test_the_two_encoders_share_nothing():
    encoder = make_fdsa().encoder
    first, second = (layer.positions for layer in (encoder.item_encoder, encoder.feature_encoder))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("items", [lambda: None, lambda: IdItems(NUM_ITEMS, DIM)])
def test_data_without_titles_is_refused(items):
    with pytest.raises(SettingsError, match="(?s)none are given.*title_vectors.*SASRec"):
        FDSA(NUM_ITEMS, DIM, items=items())


def titles_of(num_items=NUM_ITEMS, dim=DIM):
    return TitleItems(title_vectors(num_items), dim)


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        (lambda: titles_of(7), "vectors of 7 items for num_items=10"),
        (lambda: titles_of(dim=8), "8 and users 8 wide, not embedding_dim=4"),
        (lambda: JoinedItems(IdItems(NUM_ITEMS, DIM), titles_of()), "8 and users 8 wide"),
    ],
)
def test_items_that_do_not_fit_the_model_are_refused(items, problem):
    with pytest.raises(SettingsError, match=f"^items: .*{problem}"):
        SASRec(NUM_ITEMS, DIM, items=items())


def test_an_initializer_beside_items_is_refused():
    with pytest.raises(SettingsError, match=r"embeddings_initializer: .*(?s:.*)IdItems"):
        SASRec(NUM_ITEMS, DIM, embeddings_initializer="zeros", items=titles_of())


def test_a_model_of_projected_titles_is_whole_without_them(tmp_path):
    """As zero-shot: nothing about the target is given but the file."""
    adaptor = FixedProjection(*fit_pca(title_vectors()[1:], DIM))
    items = SummedItems(IdItems(NUM_ITEMS, DIM), TitleItems(title_vectors(), DIM, adaptor))
    model = SASRec(NUM_ITEMS, DIM, max_length=LENGTH, items=items)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(loaded.item_vectors(), model.item_vectors())
    np.testing.assert_array_equal(loaded.encode_users(HISTORY), model.encode_users(HISTORY))
    np.testing.assert_array_equal(loaded.items.titles.titles.embeddings, title_vectors())
    assert len(loaded.weights) == len(model.weights)


def test_plain_items_leave_no_trace_in_the_config():
    assert "items" not in SASRec(NUM_ITEMS, DIM).get_config()


class Noisy(tf_keras.layers.Layer):
    """Adds 1 in training."""

    def call(self, inputs, training=None):
        return inputs + 1 if training else inputs


def test_in_training_the_loss_sees_candidates_with_the_adaptors_noise():
    titles = TitleItems(title_vectors(), WIDTH, adaptor=Noisy())
    model = SASRec(NUM_ITEMS, WIDTH, num_layers=1, dropout=0.0, items=titles)
    seen = []

    def look(hidden, batch, items):
        seen.append([items.vectors_of(batch["positive_ids"]), items.item_vectors()])
        return tf.constant(0.0)

    model.item_loss = look
    for training in (False, True):
        model.compute_loss({"item_ids": HISTORY, "positive_ids": HISTORY}, training=training)
    for calm, noisy in zip(*seen, strict=True):
        np.testing.assert_allclose(noisy - calm, 1, atol=1e-6)
