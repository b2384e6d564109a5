"""Items by id, by title, and by both; and projections of titles."""

import json

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
from idp_tf.layers import items as items_module

NUM_ITEMS, WIDTH, DIM = 6, 5, 3
IDS = np.array([[0, 3, 6], [1, 1, 2]], np.int32)


def title_vectors(num_items=NUM_ITEMS):
    vectors = np.random.default_rng(0).normal(size=(num_items + 1, WIDTH)).astype(np.float32)
    vectors[0] = 0
    return vectors


def make_titles(**options):
    return TitleItems(title_vectors(), DIM, **options)


def make_summed(**options):
    return SummedItems(IdItems(NUM_ITEMS, DIM, seed=1), make_titles(seed=2), **options)


def make_joined():
    return JoinedItems(IdItems(NUM_ITEMS, DIM, seed=1), make_titles(seed=2))


def adapted(items):
    """Every title through the dense adaptor, by NumPy."""
    kernel, bias = (weight.numpy() for weight in items.adaptor.weights)
    return title_vectors() @ kernel + bias


@pytest.mark.parametrize(
    "make", [lambda: IdItems(NUM_ITEMS, DIM), make_titles, make_summed, make_joined]
)
def test_some_items_are_rows_of_all(make):
    items = make()
    found = items(IDS).numpy()
    table = items.table().numpy()
    assert table.shape == (items.num_items + 1, items.dim) and items.num_items == NUM_ITEMS
    np.testing.assert_allclose(found, table[IDS], atol=1e-6)
    assert len(np.unique(table.round(6), axis=0)) == NUM_ITEMS + 1


def test_ids_start_as_their_initializer_or_their_seed_says():
    table = np.arange(8, dtype=np.float32).reshape(4, 2)
    given = IdItems(3, 2, embeddings_initializer=tf_keras.initializers.Constant(table))
    np.testing.assert_array_equal(given(IDS[:1, :2]), table[IDS[:1, :2]])
    first, again, other = (IdItems(500, 8, seed=seed)(np.arange(501)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert abs(float(tf.math.reduce_std(first)) - 0.02) < 0.001


def test_titles_go_through_the_adaptor():
    items = make_titles()
    items.adaptor.bias.assign([0.5, 0.0, -1.0])
    np.testing.assert_allclose(items.table(), adapted(items), atol=1e-5)


def test_the_adaptor_meets_each_item_of_a_look_up_once():
    met = []

    class Spy(tf_keras.layers.Dense):
        def call(self, inputs):
            met.append(inputs.numpy())
            return super().call(inputs)

    items = make_titles(adaptor=Spy(DIM))
    met.clear()
    with tf.GradientTape() as tape:
        found = items(tf.constant(IDS))
        loss = tf.reduce_sum(found * np.arange(1.0, 7).reshape(2, 3, 1))
    np.testing.assert_array_equal(met[0], title_vectors()[[0, 3, 6, 1, 2]])
    # What is learned of an item is the sum over its places: item 1 stands at two, 4 and 5.
    expected = np.array([1, 2, 3, 4 + 5, 6]) @ title_vectors()[[0, 3, 6, 1, 2]]
    gradient = tape.gradient(loss, items.adaptor.kernel)
    np.testing.assert_allclose(gradient, np.tile(expected[:, None], DIM), rtol=1e-5)


def test_a_sum_adds_its_parts():
    items = make_summed()
    wanted = items.ids.table().numpy() + adapted(items.titles)
    np.testing.assert_allclose(items(IDS), wanted[IDS], atol=1e-5)
    np.testing.assert_allclose(items.table(), wanted, atol=1e-5)


def test_a_join_has_ids_first():
    items = make_joined()
    wanted = np.concatenate([items.ids.table(), adapted(items.titles)], axis=1)
    np.testing.assert_allclose(items.table(), wanted, atol=1e-5)


def test_a_large_table_is_made_piece_by_piece(monkeypatch):
    items = make_titles()
    whole, rows = items.table(), []
    monkeypatch.setattr(items_module, "_ROWS_AT_ONCE", 3)
    titles = items.titles.call
    items.titles.call = lambda ids: rows.append(len(ids)) or titles(ids)
    np.testing.assert_allclose(items.table(), whole, atol=1e-6)
    assert rows == [3, 3, 1]


def test_nothing_trains_titles():
    items = make_titles(adaptor=FixedProjection(*fit_pca(title_vectors()[1:], DIM)))
    items.trainable = False
    items.trainable = True
    assert items.trainable_variables == []
    assert {v.shape.rank for v in make_titles().trainable_variables} == {1, 2}
    assert all(v.shape[0] != NUM_ITEMS + 1 for v in make_titles().trainable_variables)


class Noisy(tf_keras.layers.Layer):
    """Adds 1 in training."""

    def call(self, inputs, training=None):
        return inputs + 1 if training else inputs


@pytest.mark.parametrize("combine", [None, SummedItems, JoinedItems])
def test_the_adaptor_knows_of_training(combine):
    titles = TitleItems(title_vectors(), WIDTH, adaptor=Noisy())
    items = combine(IdItems(NUM_ITEMS, WIDTH), titles) if combine else titles
    for look in (lambda training: items(IDS, training=training), lambda t: items.table(training=t)):
        gained = look(True) - look(False)
        np.testing.assert_allclose(gained[..., -WIDTH:], 1, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: IdItems(NUM_ITEMS, DIM, seed=4),
        make_titles,
        lambda: make_titles(adaptor=FixedProjection(*fit_pca(title_vectors()[1:], DIM))),
        make_summed,
        make_joined,
    ],
)
def test_config_and_weights_give_the_layer_again(make):
    items = make()
    items(IDS)
    config = json.loads(json.dumps(tf_keras.layers.serialize(items)))
    again = tf_keras.layers.deserialize(config)
    again(IDS)
    assert again.get_config() == items.get_config()
    again.set_weights(items.get_weights())
    np.testing.assert_array_equal(again(IDS), items(IDS))


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        (None, "there are none"),
        (np.zeros(4), r"got \(4,\)"),
        (np.zeros((0, 4)), r"got \(0, 4\)"),
        (np.ones((3, 4)), "first row"),
        ([[0.0, 0.0], [np.nan, 1.0]], "NaN"),
    ],
)
def test_title_vectors_that_cannot_be_are_refused(vectors, problem):
    with pytest.raises(SettingsError, match=f"^title_vectors: .*{problem}"):
        TitleItems(vectors, DIM)


def test_an_adaptor_of_another_width_is_refused():
    with pytest.raises(SettingsError, match="width 4, not dim=3"):
        make_titles(adaptor=tf_keras.layers.Dense(4))


@pytest.mark.parametrize("combined", [SummedItems, JoinedItems])
def test_parts_of_other_items_are_refused(combined):
    with pytest.raises(SettingsError, match=f"of {NUM_ITEMS} items for 7 ids"):
        combined(IdItems(7, DIM), make_titles())


def test_what_is_summed_is_of_one_width():
    with pytest.raises(SettingsError, match=f"4 wide, those of titles {DIM}"):
        SummedItems(IdItems(NUM_ITEMS, 4), make_titles())
    assert JoinedItems(IdItems(NUM_ITEMS, 4), make_titles()).dim == 4 + DIM


def correlated():
    rng = np.random.default_rng(3)
    return rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + rng.normal(size=6)


def test_pca_equals_a_singular_value_decomposition():
    vectors = correlated()
    mean, matrix = fit_pca(vectors, 4)
    centred = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    wanted = directions[:4].T
    wanted *= np.sign(wanted[np.abs(wanted).argmax(axis=0), range(4)])
    np.testing.assert_allclose(mean, vectors.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(matrix, wanted, atol=1e-5)


def test_a_projection_fitted_on_one_domain_serves_another():
    mean, matrix = fit_pca(correlated(), 2)
    others = np.random.default_rng(8).normal(size=(2, 3, 6)).astype(np.float32)
    found = FixedProjection(mean, matrix)(others)
    np.testing.assert_allclose(found, (others - mean) @ matrix, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "dim"), [((5, 3), 4), ((5, 3), 0), ((1, 3), 1), ((5,), 1), ((2, 3, 4), 1)]
)
def test_pca_refuses_what_has_no_such_directions(shape, dim):
    with pytest.raises(SettingsError, match="cannot keep"):
        fit_pca(np.random.default_rng(0).normal(size=shape), dim)


def test_a_mean_of_another_width_is_refused():
    with pytest.raises(SettingsError, match="FixedProjection"):
        FixedProjection(np.zeros(3), np.zeros((4, 2)))
