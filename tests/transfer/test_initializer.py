"""MatchedEmbeddings in both Kerases, from memory and from a SavedModel."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from idp_tf.errors import ServingError, SettingsError
from idp_tf.retrieval import build_index
from idp_tf.transfer.initializer import MatchedEmbeddings

EMBEDDINGS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
TABLE = np.concatenate([np.zeros((1, 3), np.float32), EMBEDDINGS])


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_fills_the_table_of_either_keras(library):
    initializer = MatchedEmbeddings(EMBEDDINGS)
    layer = library.layers.Embedding(5, 3, embeddings_initializer=initializer, mask_zero=True)
    np.testing.assert_array_equal(layer(np.arange(5)), TABLE)
    assert layer.trainable_weights


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_a_saved_model_needs_no_other_file(library, tmp_path):
    layer = library.layers.Embedding(5, 3, embeddings_initializer=MatchedEmbeddings(EMBEDDINGS))
    model = library.Sequential([library.layers.Input((2,), dtype="int32"), layer])
    model.save(tmp_path / "model.keras")
    again = library.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(np.array([[1, 4]])), TABLE[[[1, 4]]])
    rebuilt = library.models.model_from_json(model.to_json())
    np.testing.assert_array_equal(rebuilt(np.array([[2, 3]])), TABLE[[[2, 3]]])


@pytest.mark.parametrize("library", [keras, tf_keras])
@pytest.mark.parametrize("shape", [(4, 3), (5, 2)])
def test_another_shape_is_refused(library, shape):
    layer = library.layers.Embedding(*shape, embeddings_initializer=MatchedEmbeddings(EMBEDDINGS))
    with pytest.raises(SettingsError, match=r"make it Embedding\(5, 3\)"):
        layer(np.array([1]))


def test_config_round_trip_is_exact():
    again = MatchedEmbeddings.from_config(MatchedEmbeddings(EMBEDDINGS).get_config())
    np.testing.assert_array_equal(again.embeddings, EMBEDDINGS)
    with pytest.raises(SettingsError, match=r"\(items, d\)"):
        MatchedEmbeddings([1.0, 2.0])


class _LettersEncoder:
    """Counts letters: a stand-in for a text encoder."""

    def encode(self, titles):
        counts = np.array([[title.count(c) for c in "abc"] for title in titles], np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def test_from_titles_matches_in_this_process():
    initializer = MatchedEmbeddings.from_titles(
        ["aab", "", "c"],
        encoder=_LettersEncoder(),
        index=build_index(np.eye(3), "exact", 2),
        source_embeddings=[[9.0], [3.0], [6.0]],
        top_m=2,
    )
    np.testing.assert_allclose(initializer.embeddings, [[(2 * 9 + 3) / 3], [6.0], [6.0]], rtol=1e-6)


class _Matcher(tf.Module):
    """Answers with the length of each title."""

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="titles")])
    def match(self, titles):
        length = tf.cast(tf.strings.length(titles), tf.float32)
        return {"embedding": tf.stack([length, -length], axis=1)}


def test_from_saved_model_asks_the_export(tmp_path):
    matcher = _Matcher()
    tf.saved_model.save(matcher, str(tmp_path), signatures={"serving_default": matcher.match})
    titles = ["x" * length for length in range(1, 301)]
    initializer = MatchedEmbeddings.from_saved_model(tmp_path, titles)
    lengths = np.arange(1, 301, dtype=np.float32)
    np.testing.assert_array_equal(initializer.embeddings, np.stack([lengths, -lengths], axis=1))
    with pytest.raises(SettingsError, match="no titles"):
        MatchedEmbeddings.from_saved_model(tmp_path, [])


def test_what_is_no_matcher_is_refused(tmp_path):
    with pytest.raises(ServingError, match="no SavedModel"):
        MatchedEmbeddings.from_saved_model(tmp_path, ["tea"])
    module = tf.Module()
    double = tf.function(
        lambda x: {"y": x * 2}, input_signature=[tf.TensorSpec((None,), tf.int32, name="x")]
    )
    module.double = double
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": double})
    with pytest.raises(ServingError, match=r"maps \['x'\] to \['y'\]"):
        MatchedEmbeddings.from_saved_model(tmp_path, ["tea"])
