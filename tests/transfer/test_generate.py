"""Eq. 8 and 9 against NumPy."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from idp_tf.data.domain import Domain, MergedDomains
from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import SettingsError
from idp_tf.retrieval import build_index
from idp_tf.transfer.generate import (
    blend_matches,
    find_untitled,
    generate_embeddings,
    untitled_strings,
    write_matches,
)


def _unit(rng, n, dim):
    vectors = rng.normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _by_hand(query, vectors, embeddings, top_m, norm):
    similarity = vectors @ query
    best = sorted(range(len(vectors)), key=lambda row: (-similarity[row], row))[:top_m]
    clipped = [max(0.0, float(similarity[row])) for row in best]
    total = sum(clipped)
    weights = [c / total if total > 0 else 1 / top_m for c in clipped]
    blend = sum(w * embeddings[row] for w, row in zip(weights, best, strict=True))
    if norm == "matches":
        wanted = sum(w * np.linalg.norm(embeddings[r]) for w, r in zip(weights, best, strict=True))
        blend = blend / np.linalg.norm(blend) * wanted
    return best, weights, blend


@given(seed=st.integers(0, 500), top_m=st.integers(1, 6), norm=st.sampled_from(["none", "matches"]))
@settings(max_examples=25, deadline=None)
def test_generation_equals_the_formula(seed, top_m, norm):
    rng = np.random.default_rng(seed)
    vectors, queries = _unit(rng, 6, 3), _unit(rng, 4, 3)
    embeddings = rng.normal(size=(6, 5)).astype(np.float32)
    untitled = np.array([False, True, False, False])
    generated = generate_embeddings(
        queries, build_index(vectors, "exact", top_m), embeddings,
        top_m=top_m, norm=norm, untitled=untitled,
    )  # fmt: skip
    for item in (0, 2, 3):
        rows, weights, blend = _by_hand(queries[item], vectors, embeddings, top_m, norm)
        assert generated.rows[item].tolist() == rows
        np.testing.assert_allclose(generated.weights[item], weights, atol=1e-5)
        np.testing.assert_allclose(generated.embeddings[item], blend, atol=1e-4)
        np.testing.assert_allclose(
            generated.scores[item], (vectors @ queries[item])[rows], atol=1e-5
        )
    mean = embeddings.mean(axis=0)
    if norm == "matches":
        mean *= np.linalg.norm(embeddings, axis=1).mean() / np.linalg.norm(mean)
    np.testing.assert_allclose(generated.embeddings[1], mean, atol=1e-5)
    assert generated.rows[1].tolist() == [-1] * top_m
    assert not generated.weights[1].any() and not generated.scores[1].any()
    assert generated.num_untitled == 1
    assert generated.embeddings.dtype == np.float32 and generated.rows.dtype == np.int32


def test_negative_similarities_contribute_nothing():
    vectors = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]], np.float32)
    embeddings = np.array([[1.0], [2.0], [100.0]], np.float32)
    query = np.array([[1.0, 0.0], [0.0, -1.0]], np.float32)
    generated = generate_embeddings(
        query, build_index(vectors, "exact", 3), embeddings, top_m=3, untitled=[False, False]
    )
    np.testing.assert_allclose(generated.embeddings[0], [(1 * 1 + 0.6 * 2) / 1.6], rtol=1e-6)
    # All of 0, -0.8 and 0: nothing is above 0, so all weigh the same.
    np.testing.assert_allclose(generated.embeddings[1], [103 / 3], rtol=1e-6)


def test_a_blend_that_cancels_out_stays_zero():
    vectors = np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)
    generated = generate_embeddings(
        vectors[:1], build_index(vectors, "exact", 2), [[1.0], [-1.0]],
        top_m=2, norm="matches", untitled=[False],
    )  # fmt: skip
    assert generated.embeddings.tolist() == [[0.0]]


def test_the_graph_gives_the_same_numbers():
    rng = np.random.default_rng(1)
    vectors, queries = _unit(rng, 30, 8), _unit(rng, 9, 8)
    embeddings = rng.normal(size=(30, 4)).astype(np.float32)
    index = build_index(vectors, "exact", 5)
    untitled = np.arange(9) == 3
    generated = generate_embeddings(
        queries, index, embeddings, top_m=5, norm="matches", untitled=untitled
    )
    fallback = tf.constant(generated.embeddings[3])

    @tf.function
    def served(batch, without):
        scores, rows = index.layer(batch, k=5)
        return blend_matches(scores, rows, without, tf.constant(embeddings), fallback, "matches")

    blend = served(tf.constant(queries), tf.constant(untitled))
    np.testing.assert_allclose(blend.embeddings, generated.embeddings, atol=1e-6)
    np.testing.assert_array_equal(blend.rows, generated.rows)
    np.testing.assert_allclose(blend.weights, generated.weights, atol=1e-6)


def test_no_target_items_is_no_error():
    generated = generate_embeddings(
        np.zeros((0, 4)), build_index(np.eye(4), "exact", 2), np.ones((4, 3)), top_m=2, untitled=[]
    )
    assert generated.embeddings.shape == (0, 3) and generated.rows.shape == (0, 2)


def test_bad_input_is_refused():
    index = build_index(np.eye(4), "exact", 2)
    arguments = {"top_m": 2, "untitled": [False] * 4}
    with pytest.raises(SettingsError, match="leave out the padding row"):
        generate_embeddings(np.eye(4), index, np.ones((5, 3)), **arguments)
    with pytest.raises(SettingsError, match="top_m .k. is 5, but there are only 4"):
        generate_embeddings(np.eye(4), index, np.ones((4, 3)), **arguments | {"top_m": 5})
    with pytest.raises(SettingsError, match="for 4 target items"):
        generate_embeddings(np.eye(4), index, np.ones((4, 3)), **arguments | {"untitled": [True]})
    with pytest.raises(SettingsError, match="unknown norm 'unit'"):
        generate_embeddings(np.eye(4), index, np.ones((4, 3)), **arguments, norm="unit")


def test_untitled_agrees_in_and_out_of_the_graph():
    titles = ["tea", "", "  ", " kettle ", "\t", "\u00a0\u2003\x0b\x1c\x85", "\u00e9"]
    assert find_untitled(titles).tolist() == [False, True, True, False, True, True, False]
    assert untitled_strings(tf.constant(titles)).numpy().tolist() == find_untitled(titles).tolist()


def _domain(name, titles):
    ids = IdMap([f"{name}{i}" for i in range(len(titles))])
    return Domain(
        name, ids, titles, [], Sequences(np.zeros(0, np.int32), np.zeros(1, np.int64)), {}
    )


def test_matches_are_written_with_their_domains(tmp_path):
    sources = MergedDomains.of([_domain("a", ["tea", "pot"]), _domain("b", ["pen", "ink", "desk"])])
    target = _domain("t", ["kettle", "", "quill"])
    vectors = np.eye(5, dtype=np.float32)
    queries = np.array([[0.5, 0.25, 0, 0, 0], [0] * 5, [0, 0, 0.5, 0.5, 0.25]], np.float32)
    generated = generate_embeddings(
        queries, build_index(vectors, "exact", 2), np.ones((5, 2)),
        top_m=2, untitled=find_untitled(target.titles),
    )  # fmt: skip
    path = tmp_path / "matches.parquet"
    write_matches(path, generated, target, sources)
    assert pl.read_parquet(path).rows() == [
        ("t0", "a0", "a", "kettle", "tea", 0.5, pytest.approx(2 / 3)),
        ("t0", "a1", "a", "kettle", "pot", 0.25, pytest.approx(1 / 3)),
        ("t2", "b0", "b", "quill", "pen", 0.5, 0.5),
        ("t2", "b1", "b", "quill", "ink", 0.5, 0.5),
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["matches.parquet"]
