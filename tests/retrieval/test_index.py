"""The retrieval room against NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import idp_tf.retrieval.index as index_module
from idp_tf.errors import SettingsError
from idp_tf.retrieval import build_index, choose_scann_settings, estimate_recall


def _unit(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    vectors = rng.normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(
    n=st.integers(1, 30),
    dim=st.integers(1, 6),
    num_queries=st.integers(0, 7),
    seed=st.integers(0, 1000),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_exact_equals_a_stable_sort(n, dim, num_queries, seed, data):
    k = data.draw(st.integers(1, n))
    rng = np.random.default_rng(seed)
    # Small whole numbers: products are exact, and ties are many.
    vectors = rng.integers(-2, 3, size=(n, dim)).astype(np.float32)
    queries = rng.integers(-2, 3, size=(num_queries, dim)).astype(np.float32)
    matches = build_index(vectors, "exact", k).query(queries, k)
    scores = queries @ vectors.T
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(matches.rows, rows)
    np.testing.assert_array_equal(matches.scores, np.take_along_axis(scores, rows, axis=1))
    assert matches.rows.dtype == np.int32 and matches.scores.dtype == np.float32


def test_blocks_do_not_change_the_answer(monkeypatch):
    rng = np.random.default_rng(0)
    vectors, queries = _unit(rng, 50, 8), _unit(rng, 23, 8)
    index = build_index(vectors, "exact", 4)
    whole = index.query(queries)
    monkeypatch.setattr(index_module, "BLOCK_SCORES", 50 * 5)
    blocks = index.query(queries)
    np.testing.assert_array_equal(whole.rows, blocks.rows)
    np.testing.assert_allclose(whole.scores, blocks.scores, atol=1e-6)


def test_scann_is_asked_in_whole_blocks_however_many_vectors_there_are(monkeypatch):
    rng = np.random.default_rng(1)
    vectors, queries = _unit(rng, 400, 8), _unit(rng, 90, 8)
    index = build_index(vectors, "scann", 4)
    monkeypatch.setattr(index_module, "BLOCK_SCORES", 400)
    monkeypatch.setattr(index_module, "BLOCK_QUERIES", 64)
    asked = []
    layer = index.layer
    monkeypatch.setattr(index, "_layer", lambda q, k: asked.append(len(q)) or layer(q, k=k))
    assert index.query(queries).rows.shape == (90, 4)
    assert asked == [64, 26]


@pytest.mark.parametrize("n", [16, 17, 100, 1500])
def test_scann_is_near_exact_on_small_catalogues(n):
    rng = np.random.default_rng(n)
    vectors, queries = _unit(rng, n, 16), _unit(rng, 40, 16)
    k = min(10, n)
    matches = build_index(vectors, "scann", k).query(queries, k)
    scores = queries @ vectors.T
    best = np.sort(scores, axis=1)[:, ::-1][:, :k]
    assert np.mean(matches.scores >= best[:, -1:] - 1e-5) > 0.98
    np.testing.assert_allclose(
        matches.scores, np.take_along_axis(scores, matches.rows, axis=1), atol=1e-5
    )


def test_scann_answers_short_queries_exactly_and_says_so(monkeypatch, caplog):
    rng = np.random.default_rng(3)
    vectors, queries = _unit(rng, 300, 8), _unit(rng, 20, 8)
    one_leaf = index_module.ScannSettings(17, 1, 100)
    monkeypatch.setattr(index_module, "choose_scann_settings", lambda n, k: one_leaf)
    index = build_index(vectors, "scann", 50)
    matches = index.query(queries, 50)
    assert "answered exactly" in caplog.text
    # Exact answers are worked out in blocks too: here of two queries.
    monkeypatch.setattr(index_module, "BLOCK_SCORES", 2 * 300)
    np.testing.assert_array_equal(matches.rows, index.query(queries, 50).rows)
    assert np.isfinite(matches.scores).all()
    assert all(len(set(rows)) == 50 for rows in matches.rows.tolist())


def test_estimate_recall_counts_what_is_missed(monkeypatch):
    rng = np.random.default_rng(4)
    vectors, queries = _unit(rng, 2000, 16), _unit(rng, 64, 16)
    good = build_index(vectors, "scann", 10)
    assert estimate_recall(good, queries, 10) > 0.98
    poor_settings = index_module.ScannSettings(100, 2, 100)
    monkeypatch.setattr(index_module, "choose_scann_settings", lambda n, k: poor_settings)
    poor = build_index(vectors, "scann", 10)
    found = poor.query(queries, 10).rows
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    by_hand = np.mean([len(set(f) & set(e)) / 10 for f, e in zip(found, exact, strict=True)])
    assert estimate_recall(poor, queries, 10) == pytest.approx(by_hand, abs=1e-6)
    assert by_hand < 0.6


def test_the_layer_gives_the_same_rows():
    rng = np.random.default_rng(5)
    vectors, queries = _unit(rng, 60, 8), _unit(rng, 5, 8)
    index = build_index(vectors, "exact", 3)
    scores, rows = index.layer(queries)
    np.testing.assert_array_equal(rows, index.query(queries, 3).rows)
    np.testing.assert_allclose(scores, index.query(queries, 3).scores, atol=1e-6)


@pytest.mark.parametrize("n", [16, 40, 5_000, 5_001, 83_000, 10_000_000])
def test_the_rule_is_legal(n):
    chosen = choose_scann_settings(n, 10)
    assert 1 <= chosen.num_leaves_to_search <= chosen.num_leaves <= n
    assert 10 <= chosen.num_reordering_candidates <= n


def test_the_rule_at_sizes_worked_out_by_hand():
    def chosen(n, k):
        rule = choose_scann_settings(n, k)
        return rule.num_leaves, rule.num_leaves_to_search, rule.num_reordering_candidates

    assert chosen(100, 10) == (10, 10, 100)  # all that there are
    assert chosen(5_000, 10) == (71, 71, 200)  # searched whole
    assert chosen(10_000, 10) == (100, 50, 200)  # 5,000 of 10,000
    assert chosen(730_000, 10) == (854, 171, 200)  # a fifth of 854 is 170.8
    assert chosen(1_000_000, 50) == (1_000, 200, 1_000)  # 20 k


def test_the_rule_is_what_the_layer_is_built_with(monkeypatch):
    asked = {}
    layer = index_module.factorized_top_k.ScaNN

    def spy(**settings):
        asked.update(settings)
        return layer(**settings)

    monkeypatch.setattr(index_module.factorized_top_k, "ScaNN", spy)
    build_index(_unit(np.random.default_rng(6), 400, 8), "scann", 3)
    assert asked == {"k": 3, **dataclasses.asdict(choose_scann_settings(400, 3))}


def test_the_estimate_is_logged_with_what_was_chosen(caplog):
    rng = np.random.default_rng(7)
    index = build_index(_unit(rng, 400, 8), "scann", 3)
    with caplog.at_level("INFO", "idp_tf.retrieval.recall"):
        recall = estimate_recall(index, _unit(rng, 30, 8), 3)
    assert f"recall@3 {recall:.4f} on 30 queries" in caplog.text
    assert "num_leaves=20" in caplog.text


def test_k_above_the_catalogue_names_both():
    with pytest.raises(SettingsError, match=r"top_m \(k\) is 5, but there are only 4 vectors"):
        build_index(np.eye(4), "exact", 5)
    with pytest.raises(SettingsError, match="only 4 vectors"):
        build_index(np.eye(4), "exact", 2).query(np.eye(4), 5)
    with pytest.raises(SettingsError, match="at least 1"):
        build_index(np.eye(4), "exact", 0)


def test_bad_input_is_refused():
    index = build_index(np.eye(4), "exact", 2)
    with pytest.raises(SettingsError, match="3 wide, the index' vectors 4"):
        index.query(np.zeros((2, 3)))
    with pytest.raises(SettingsError, match="unknown retrieval method 'faiss'"):
        build_index(np.eye(4), "faiss", 2)
    with pytest.raises(SettingsError, match="at least 16 vectors, got 4"):
        build_index(np.eye(4), "scann", 2)
    with pytest.raises(SettingsError, match=r"\(n, dim\)"):
        build_index(np.zeros(4), "exact", 2)
    with pytest.raises(SettingsError, match="row 1 holds NaN"):
        build_index(np.array([[0.0], [np.nan]]), "exact", 1)
    with pytest.raises(SettingsError, match="nothing to index"):
        build_index(np.zeros((0, 4)), "exact", 1)
