"""Eq. 5 to 7 against a transcription in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from idp_tf.text.objectives import allowed_negatives, contrastive_loss, matcher_losses


def _unit(rng, n, dim):
    vectors = rng.normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _info_nce(anchor, positive, negatives, temperature):
    """One anchor of eq. 5 or 6, the -log put back."""
    share = math.exp(anchor @ positive / temperature)
    others = sum(math.exp(anchor @ negative / temperature) for negative in negatives)
    return -math.log(share / (share + others))


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_losses_equal_the_equations(temperature):
    rng = np.random.default_rng(0)
    anchors, views, neighbours = _unit(rng, 5, 4), _unit(rng, 5, 4), _unit(rng, 5, 4)
    allowed = rng.random((5, 10)) < 0.7
    allowed[2] = False
    candidates = np.concatenate([anchors, neighbours])
    negatives = [candidates[allowed[i]] for i in range(5)]
    text = [_info_nce(anchors[i], views[i], negatives[i], temperature) for i in range(5)]
    behaviour = [_info_nce(anchors[i], neighbours[i], negatives[i], temperature) for i in range(5)]
    found = matcher_losses(anchors, views, neighbours, allowed, temperature)
    np.testing.assert_allclose(found, [np.mean(text), np.mean(behaviour)], rtol=1e-4)
    by_anchor = contrastive_loss(anchors, views, candidates, allowed, temperature)
    np.testing.assert_allclose(by_anchor, text, rtol=1e-3, atol=1e-5)
    # Without any negative, the positive's share is 1.
    assert float(by_anchor[2]) == pytest.approx(0, abs=1e-6)


def test_neighbours_same_titles_and_the_item_itself_are_no_negatives():
    neighbours = np.array([[1, 2], [3, -1], [4, 5], [0, 5], [5, 1], [4, -1]], np.int32)
    title_ids = np.array([0, 1, 2, 3, 4, 0], np.int32)
    anchors, candidates = np.array([0, 1, 5]), np.array([0, 1, 2, 3, 4, 5])
    expected = [
        # 0: itself; 1, 2 its neighbours; 3 has it as one; 4 unrelated; 5 shares its title.
        [False, False, False, False, True, False],
        # 1: 0 and 4 have it as a neighbour; itself; 3 its neighbour.
        [False, False, True, False, False, True],
        # 5: 0 shares its title; 2 and 3 have it; 4 is its neighbour; itself.
        [False, True, False, False, False, False],
    ]
    found = allowed_negatives(anchors, candidates, neighbours, title_ids)
    assert found.tolist() == expected
