"""SASRec of the ids plus the cosine of an item's title and a profile of titles."""

import numpy as np
import pytest
import tensorflow as tf

from idp_tf.config import ModelSettings
from idp_tf.errors import SettingsError
from idp_tf.layers import CentredDirection, IdItems, JoinedItems, RecencyProfile, TitleItems
from idp_tf.models import GRU4Rec, ProfiledSASRec, SASRec, build_model

NUM_ITEMS, DIM, WIDTH, LENGTH = 12, 8, 5, 6
TITLES = np.random.default_rng(0).normal(1, 1, (NUM_ITEMS, WIDTH)).astype(np.float32)
TITLES[3] = 0  # no title
SHAPE = {"embedding_dim": DIM, "num_layers": 1, "max_length": LENGTH}
HISTORIES = np.array([[0, 0, 1, 4, 2, 7], [0, 0, 0, 0, 4, 9], [3, 5, 8, 11, 12, 1]], np.int32)


def build(title_weight=5.0, **options):
    settings = ModelSettings(embedding_dim=DIM, num_layers=1, max_length=LENGTH)
    return build_model(
        "profiled-sasrec",
        settings,
        NUM_ITEMS,
        items="joined",
        adaptor="centred",
        title_vectors=TITLES,
        title_weight=title_weight,
        **options,
    )


def directions():
    """Titles less their mean, by hand; zeros for padding and for the item without a title."""
    titled = np.delete(TITLES, 3, axis=0)
    centred = TITLES - titled.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    unit[3] = 0
    return np.concatenate([np.zeros((1, WIDTH)), unit])


def profiles(histories):
    vectors, found = directions(), []
    for history in histories:
        items = [item for item in history if item]
        parts = [vectors[item] / np.sqrt(1 + age) for age, item in enumerate(reversed(items))]
        found.append(np.sum(parts, axis=0) / np.linalg.norm(np.sum(parts, axis=0)))
    return np.array(found)


def test_scores_are_the_sum_of_both():
    model, sasrec = build(title_weight=3.0), SASRec(NUM_ITEMS, seed=7, **SHAPE)
    model.take_over(sasrec)
    sasrec.item_embedding.embeddings.assign(model.item_embedding.embeddings)
    ours = model.encode_users(HISTORIES).numpy() @ model.item_vectors().numpy().T
    by_ids = sasrec.encode_users(HISTORIES).numpy() @ sasrec.item_vectors().numpy().T
    cosines = profiles(HISTORIES) @ directions().T
    np.testing.assert_allclose(ours[:, 1:], (by_ids + 3 * cosines)[:, 1:], atol=1e-5)


def test_the_profile_at_every_position():
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(2, 4, 3)).astype(np.float32)
    mask = np.array([[False, True, True, True], [True, True, True, True]])
    layer = RecencyProfile(max_length=6)
    layer.log_weights.assign(np.log([4.0, 3, 2, 1, 1, 1]).astype(np.float32))
    expected = np.zeros_like(inputs)
    for row in range(2):
        for t in range(4):
            for s in range(t + 1):
                expected[row, t] += (4 - (t - s)) * inputs[row, s] * mask[row, s]
    lengths = np.linalg.norm(expected, axis=-1, keepdims=True)
    expected = np.divide(expected, lengths, out=np.zeros_like(expected), where=lengths > 0)
    np.testing.assert_allclose(layer(inputs, mask), expected, atol=1e-6)


def test_half_precision_keeps_the_directions():
    layer = RecencyProfile(max_length=3, dtype="mixed_bfloat16")
    found = layer(np.ones((1, 3, 4), np.float32), np.ones((1, 3), bool))
    assert found.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(found, tf.float32), np.full((1, 3, 4), 0.5), atol=0.01)


def test_only_a_sasrec_is_taken_over():
    with pytest.raises(SettingsError, match="not from a GRU4Rec"):
        build().take_over(GRU4Rec(NUM_ITEMS, embedding_dim=DIM))
    with pytest.raises(SettingsError, match="do not fit"):
        build().take_over(SASRec(NUM_ITEMS, embedding_dim=DIM, num_layers=2, max_length=LENGTH))


def test_titles_are_needed():
    with pytest.raises(SettingsError, match="titles beside ids of width 8"):
        ProfiledSASRec(NUM_ITEMS, title_weight=5.0, **SHAPE)
    with pytest.raises(SettingsError, match="titles beside ids of width 8"):
        table = np.concatenate([np.zeros((1, WIDTH)), TITLES])
        items = JoinedItems(IdItems(NUM_ITEMS, 4), TitleItems(table, 4))
        ProfiledSASRec(NUM_ITEMS, title_weight=5.0, items=items, **SHAPE)


def test_how_much_titles_weigh_is_to_be_said():
    with pytest.raises(TypeError, match="title_weight"):
        ProfiledSASRec(NUM_ITEMS, **SHAPE)
    with pytest.raises(SettingsError, match="titles that weigh 0"):
        build(title_weight=0.0)


def test_what_is_centred_is_saved(tmp_path):
    layer = CentredDirection(np.array([1.0, 2.0]))
    again = CentredDirection.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    inputs = tf.constant([[3.0, 2.0], [0.0, 0.0], [1.0, 5.0]])
    np.testing.assert_array_equal(again(inputs), layer(inputs))
    np.testing.assert_allclose(layer(inputs), [[1, 0], [0, 0], [0, 1]], atol=1e-6)
