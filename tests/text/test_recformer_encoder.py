"""Recformer's encoder against NumPy: embeddings, windowed attention, padding, saving."""

from __future__ import annotations

import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from idp_tf.config import RecformerSettings
from idp_tf.errors import MissingDataError
from idp_tf.text.recformer import Recformer, RecformerEncoder, build_recformer_encoder
from idp_tf.text.recformer.attention import windowed_layer
from idp_tf.text.sources import load_bert

SETTINGS = RecformerSettings(kept_layers=2, max_items=4, title_tokens=6, max_tokens=24, window=6)
TITLES = [
    "green tea kettle",
    "black star wars",
    "the night of the day",
    "ink",
    "",
    "Green tea kettle",
]
HISTORIES = np.array([[0, 0, 0, 1], [4, 1, 2, 3], [0, 5, 3, 2], [0, 0, 4, 4]], np.int32)


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return build_recformer_encoder(SETTINGS, str(tiny_bert))


@pytest.fixture(scope="module")
def recformer(encoder):
    return Recformer.of(encoder, TITLES)


def normalised(x, norm):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12)
    return x * np.asarray(norm.gamma) + np.asarray(norm.beta)


def by_numpy(layer, x, seen):
    """A BERT layer in which query i attends to key j where ``seen[b, i, j]``."""
    attention = layer._self_attention_layer

    def projected(dense):
        return np.einsum("bid,dhe->bhie", x, dense.kernel) + np.asarray(dense.bias)[:, None]

    query, key, value = (
        projected(d) for d in (attention._query_dense, attention._key_dense, attention._value_dense)
    )
    scores = np.einsum("bhie,bhje->bhij", query, key) / np.sqrt(query.shape[-1])
    shares = softmax(np.where(seen[:, None], scores, -np.inf), axis=-1)
    out = attention._output_dense
    mixed = np.einsum("bhij,bhje,hed->bid", shares, value, out.kernel) + np.asarray(out.bias)
    x = normalised(x + mixed, layer._self_attention_layer_norm)
    inner, outer = layer._feedforward_intermediate_dense, layer._feedforward_output_dense
    y = x @ np.asarray(inner.kernel) + np.asarray(inner.bias)
    y = y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3))) / 2
    y = y @ np.asarray(outer.kernel) + np.asarray(outer.bias)
    return normalised(x + y, layer._feedforward_layer_norm)


@pytest.fixture(scope="module")
def layer(encoder):
    return encoder.backbone.transformer_layers[0]


def states_and_mask(length, lengths):
    rng = np.random.default_rng(length)
    states = rng.normal(size=(len(lengths), length, 16)).astype(np.float32)
    return states, (np.arange(length) < np.array(lengths)[:, None]).astype(np.int32)


@pytest.mark.parametrize("length", [1, 2, 5, 6, 7, 12, 23])
@pytest.mark.parametrize("half", [1, 3, 6])
@pytest.mark.parametrize("in_blocks", [True, False])
def test_windowed_attention_is_a_band_and_cls(layer, length, half, in_blocks):
    states, mask = states_and_mask(length, [length, max(1, length - 4)])
    place = np.arange(length)
    band = abs(place[:, None] - place) <= half
    band[0], band[:, 0] = True, True
    expected = by_numpy(layer, states, band & (mask[:, None, :] == 1))
    found = np.asarray(windowed_layer(layer, states, mask, half, in_blocks=in_blocks))
    np.testing.assert_allclose(found[mask == 1], expected[mask == 1], atol=1e-5)
    first = np.asarray(windowed_layer(layer, states, mask, half, first_only=True))
    np.testing.assert_allclose(first[:, 0], expected[:, 0], atol=1e-5)


def test_a_window_over_everything_is_the_berts_own_attention(layer):
    states, mask = states_and_mask(20, [20, 13])
    expected = np.asarray(layer(states, padding_mask=mask))
    found = np.asarray(windowed_layer(layer, states, mask, 19))
    np.testing.assert_allclose(found[mask == 1], expected[mask == 1], atol=1e-5)
    narrow = np.asarray(windowed_layer(layer, states, mask, 3))
    assert abs(narrow - expected)[mask == 1].max() > 1e-2


def test_attention_holds_nothing_of_the_square_of_the_length(layer):
    @tf.function(autograph=False)
    def run(states, mask):
        return windowed_layer(layer, states, mask, 4)

    def largest(length):
        specs = tf.TensorSpec((1, length, 16), tf.float32), tf.TensorSpec((1, length), tf.int32)
        graph = run.get_concrete_function(*specs).graph
        shapes = [tensor.shape for op in graph.get_operations() for tensor in op.outputs]
        return max(shape.num_elements() or 0 for shape in shapes)

    # Twice the length, twice the largest tensor; two heads' whole attention is 2 · 1024².
    assert largest(1024) == 2 * largest(512) < 1024**2 / 16


def test_embeddings_are_the_normalised_sum_of_four(encoder, recformer):
    packed = recformer.sentences.pack(HISTORIES)
    backbone = encoder.backbone
    length = packed["token_ids"].shape[1]
    total = (
        np.asarray(backbone.token_embedding.embeddings)[packed["token_ids"]]
        + np.asarray(backbone.position_embedding.position_embeddings)[:length]
        + np.asarray(encoder.token_types.embeddings)[packed["token_types"]]
        + np.asarray(encoder.item_positions.embeddings)[packed["item_positions"]]
    )
    expected = normalised(total, backbone.embeddings_layer_norm)
    np.testing.assert_allclose(np.asarray(encoder.embed(packed)), expected, atol=1e-4)


def test_fresh_embeddings_start_as_the_official_ones(tiny_bert):
    encoder = build_recformer_encoder(
        SETTINGS.model_copy(update={"max_items": 4_000}), str(tiny_bert)
    )
    bert, _ = load_bert(str(tiny_bert))
    segment = np.asarray(bert.segment_embedding.embeddings)[0]
    np.testing.assert_array_equal(np.asarray(encoder.token_types.embeddings), [segment] * 3)
    positions = np.asarray(encoder.item_positions.embeddings)
    assert positions.mean() == pytest.approx(0, abs=1e-3)
    assert positions.std() == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_users_and_items_are_their_sentences_pooled(tiny_bert, pooling):
    settings = SETTINGS.model_copy(update={"pooling": pooling})
    encoder = build_recformer_encoder(settings, str(tiny_bert))
    recformer = Recformer.of(encoder, TITLES)
    found = recformer.encode_users(HISTORIES)
    for row, vector in zip(HISTORIES, found, strict=True):
        states = np.asarray(encoder.states(recformer.sentences.pack([row])))[0]
        pooled = states[0] if pooling == "cls" else states.mean(axis=0)
        np.testing.assert_allclose(vector, pooled / np.linalg.norm(pooled), atol=1e-5)
    items = recformer.item_vectors()
    assert items.shape == (7, 16) and not items[0].any()
    np.testing.assert_allclose(items[1], found[0], atol=1e-6)
    np.testing.assert_array_equal(items[1], items[6])
    np.testing.assert_allclose(np.linalg.norm(items[1:], axis=1), 1, atol=1e-5)
    assert recformer.encode_users(np.zeros((0, 4), np.int32)).shape == (0, 16)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_padding_changes_nothing(tiny_bert, pooling):
    settings = SETTINGS.model_copy(update={"pooling": pooling})
    encoder = build_recformer_encoder(settings, str(tiny_bert))
    recformer = Recformer.of(encoder, TITLES)
    alone = recformer.encode_users(HISTORIES[:1])
    np.testing.assert_allclose(recformer.encode_users(HISTORIES)[:1], alone, atol=1e-6)
    wide = np.pad(HISTORIES[:1], [(0, 0), (5, 0)])
    np.testing.assert_allclose(recformer.encode_users(wide), alone, atol=1e-6)
    packed = recformer.sentences.pack(HISTORIES)
    among = np.asarray(encoder.vectors(packed))
    np.testing.assert_allclose(among[:1], alone, atol=1e-6)
    other = {name: np.where(packed["padding_mask"] == 1, x, 1) for name, x in packed.items()}
    other["padding_mask"] = packed["padding_mask"]
    np.testing.assert_allclose(np.asarray(encoder.vectors(other)), among, atol=1e-6)


def test_items_beyond_max_items_are_not_read(recformer):
    longer = np.array([[5, 4, 1, 2, 3]], np.int32)
    np.testing.assert_array_equal(
        recformer.encode_users(longer), recformer.encode_users(longer[:, 1:])
    )
    assert recformer.max_length == 4
    order = recformer.encode_users([[0, 0, 1, 2], [0, 0, 2, 1]])
    assert abs(order[0] - order[1]).max() > 1e-3


def test_saved_and_loaded_it_gives_the_same(tiny_bert, tmp_path):
    recformer = Recformer.of(build_recformer_encoder(SETTINGS, str(tiny_bert), seed=3), TITLES)
    for weight in recformer.encoder.weights:
        weight.assign(weight + 0.1)
    recformer.item_vectors()
    recformer.encoder.item_positions.embeddings.assign_add(
        np.full((5, 16), [0.5] * 8 + [0.0] * 8, np.float32)
    )
    # The item vectors that it was fine-tuned with, not those that it would give now.
    kept, users = recformer.item_vectors(), recformer.encode_users(HISTORIES)
    recformer.save(tmp_path / "recformer")
    recformer.save(tmp_path / "recformer")
    again = Recformer.load(tmp_path / "recformer")
    np.testing.assert_array_equal(again.item_vectors(), kept)
    np.testing.assert_array_equal(again.encode_users(HISTORIES), users)
    assert again.encoder.settings() == recformer.encoder.settings()
    again.encode_items()
    assert abs(again.item_vectors() - kept).max() > 1e-3
    assert (again.num_items, again.max_length) == (6, 4)


def test_what_is_not_there_is_not_loaded(tmp_path):
    with pytest.raises(MissingDataError, match="no saved Recformer is here"):
        Recformer.load(tmp_path)
    with pytest.raises(MissingDataError, match="no saved Recformer encoder"):
        RecformerEncoder.load(tmp_path)


def test_a_seed_is_a_model(tiny_bert):
    def positions(seed):
        encoder = build_recformer_encoder(SETTINGS, str(tiny_bert), seed)
        return np.asarray(encoder.item_positions.embeddings)

    np.testing.assert_array_equal(positions(1), positions(1))
    assert abs(positions(1) - positions(2)).max() > 1e-3


def test_any_bert_will_do(tiny_bert):
    """Another width, heads, layers and no dropout."""
    bert = keras_hub.models.BertBackbone(
        vocabulary_size=40,
        num_layers=3,
        num_heads=3,
        hidden_dim=12,
        intermediate_dim=8,
        max_sequence_length=16,
        dropout=0.0,
    )
    _, tokenizer = load_bert(str(tiny_bert))
    encoder = RecformerEncoder(
        bert, tokenizer, max_items=2, title_tokens=4, max_tokens=9, window=32, pooling="cls"
    )
    sentences = encoder.tokenise(TITLES)
    packed = sentences.pack(HISTORIES)
    states = encoder.embed(packed)
    for transformer in bert.transformer_layers:
        states = transformer(states, padding_mask=packed["padding_mask"])
    first = np.asarray(states)[:, 0]
    expected = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(sentences, HISTORIES), expected, atol=1e-5)
