"""Contrastive losses and orthogonality, against NumPy."""

import numpy as np
import pytest

from idp_tf.representation_losses import in_batch_contrastive, orthogonality

ROWS, DIM = 12, 5


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(3, ROWS, DIM)).astype(np.float32)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def official(queries, keys, ids, temperature=0.07):
    """The official code's loss, line by line; a score of 0 still adds exp(0) to the sum."""
    queries, keys = unit(queries.astype(np.float64)), unit(keys.astype(np.float64))
    same = (ids[:, None] == ids[None]) ^ np.eye(len(ids), dtype=bool)
    positive = np.exp((queries * keys).sum(axis=1) / temperature)
    scores = np.where(same, 0, queries @ keys.T / temperature)
    return -np.log(positive / np.exp(scores).sum(axis=1)).mean()


def by_hand(queries, keys, ids, temperature=0.07):
    """Row by row, over the rows that are no positive of another."""
    queries, keys = unit(queries.astype(np.float64)), unit(keys.astype(np.float64))
    losses = []
    for row in np.flatnonzero(ids):
        others = [j for j in np.flatnonzero(ids) if j == row or ids[j] != ids[row]]
        scores = queries[row] @ keys[others].T / temperature
        losses.append(np.log(np.exp(scores).sum()) - queries[row] @ keys[row] / temperature)
    return np.mean(losses) if losses else 0.0


def test_it_is_the_official_codes_where_no_item_comes_twice(vectors):
    ids = np.arange(1, ROWS + 1)
    found = in_batch_contrastive(vectors[0], vectors[1], ids)
    np.testing.assert_allclose(found, official(vectors[0], vectors[1], ids), rtol=1e-5)
    np.testing.assert_allclose(found, by_hand(vectors[0], vectors[1], ids), rtol=1e-5)


def test_an_item_is_no_negative_of_itself(vectors):
    ids = np.array([1, 2, 3, 1, 1, 4, 5, 5, 6, 7, 8, 9])
    found = float(in_batch_contrastive(vectors[0], vectors[1], ids))
    np.testing.assert_allclose(found, by_hand(vectors[0], vectors[1], ids), rtol=1e-5)
    # The official code lets them add 1 each to a sum of large numbers.
    assert found < official(vectors[0], vectors[1], ids) < found + 0.05
    all_different = float(in_batch_contrastive(vectors[0], vectors[1], np.arange(1, ROWS + 1)))
    assert found < all_different


def test_rows_without_a_next_item_count_nowhere(vectors):
    ids = np.array([0, 2, 3, 0, 1, 4, 5, 0, 6, 7, 8, 9])
    found = in_batch_contrastive(vectors[0], vectors[1], ids)
    np.testing.assert_allclose(found, by_hand(vectors[0], vectors[1], ids), rtol=1e-5)
    assert float(in_batch_contrastive(vectors[0], vectors[1], np.zeros(ROWS, int))) == 0


def test_it_takes_half_precision(vectors):
    ids = np.array([1, 2, 3, 1, 1, 4, 5, 5, 6, 7, 8, 0])
    half = vectors.astype(np.float16)
    found = in_batch_contrastive(half[0], half[1], ids)
    np.testing.assert_allclose(found, by_hand(half[0], half[1], ids), rtol=1e-5)


def test_rows_of_one_group_are_no_negatives_of_one_another(vectors):
    ids, groups = np.arange(1, ROWS + 1), np.arange(ROWS) // 3
    queries, keys = (unit(x.astype(np.float64)) for x in vectors[:2])
    scores = np.exp(queries @ keys.T / 0.07)
    others = (groups[:, None] != groups[None]) | np.eye(ROWS, dtype=bool)
    wanted = np.log((scores * others).sum(axis=1) / np.diag(scores)).mean()
    found = in_batch_contrastive(vectors[0], vectors[1], ids, groups=groups)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_orthogonality_equals_numpy(vectors):
    cosine = (unit(vectors[0]) * unit(vectors[1])).sum(axis=1)
    np.testing.assert_allclose(orthogonality(vectors[0], vectors[1]), (cosine**2).mean(), rtol=1e-5)
    np.testing.assert_allclose(orthogonality(vectors[0], -3 * vectors[0]), 1.0, rtol=1e-5)
