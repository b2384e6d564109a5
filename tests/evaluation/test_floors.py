"""The two rankers that any system must beat."""

from __future__ import annotations

import numpy as np
import pytest

from idp_tf.data.sequences import Sequences
from idp_tf.errors import DataError
from idp_tf.evaluation import evaluate, nearest_title_scorer, popularity_scorer


def test_popularity_counts_training_items_only() -> None:
    sequences = Sequences(np.array([1, 1, 2, 3, 1, 2, 4, 3], np.int32), np.array([0, 4, 8]))
    scorer = popularity_scorer(sequences, num_items=4)
    assert scorer.name == "popularity"
    assert scorer.item_vectors[:, 0].tolist() == [0, 3, 1, 0, 0]
    # Test: user 0 has target 3 (count 0) against 4 (0, a tie); user 1 target 3, all else seen.
    ranks = evaluate(scorer, sequences, split="test", num_items=4, protocols=["full"])
    assert ranks["full"].tolist() == [2, 1]


def test_nearest_title_is_the_mean_of_the_last_five() -> None:
    random = np.random.default_rng(0)
    titles = random.normal(size=(9, 4))
    unit = titles / np.linalg.norm(titles, axis=1, keepdims=True)
    scorer = nearest_title_scorer(titles.astype(np.float32))
    assert scorer.max_length == 5 and scorer.num_items == 9
    found = scorer.encode_users(np.array([[0, 0, 0, 2, 7], [1, 2, 3, 4, 5]], np.int32))
    np.testing.assert_allclose(found[0], (unit[1] + unit[6]) / 2, atol=1e-6)
    np.testing.assert_allclose(found[1], unit[:5].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(scorer.item_vectors[1:], unit, atol=1e-6)


def test_untitled_items_have_a_zero_vector() -> None:
    titles = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 0.0]], np.float32)
    scorer = nearest_title_scorer(titles, untitled=np.array([False, True, False]))
    assert scorer.item_vectors.tolist() == [[0, 0], [1, 0], [0, 0], [0, 0]]
    # A history with no title at all ties with everything, and so gets the worst rank.
    sequences = Sequences(np.array([2, 3, 1], np.int32), np.array([0, 3]))
    ranks = evaluate(scorer, sequences, split="validation", num_items=3, protocols=["full"])
    assert ranks["full"].tolist() == [2]


def test_flags_must_fit_the_titles() -> None:
    with pytest.raises(DataError, match="2 flags for 3 title vectors"):
        nearest_title_scorer(np.ones((3, 2)), untitled=np.array([True, False]))
    with pytest.raises(DataError, match="shape"):
        nearest_title_scorer(np.ones(3))
