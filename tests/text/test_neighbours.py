"""Behaviour neighbours and what is measured with them, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from idp_tf.errors import SettingsError
from idp_tf.text import behaviour_neighbours, example_matches, hold_out, neighbour_recall

OFFSETS = [0, 12, 30]


def _by_hand(vectors, offsets, k):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    domain = np.searchsorted(offsets, np.arange(len(vectors)), side="right")
    similarity[domain[:, None] != domain[None, :]] = -np.inf
    return np.argsort(-similarity, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize(("scope", "offsets"), [("domain", OFFSETS), ("all", [0, 30])])
def test_neighbours_equal_cosine_similarity(scope, offsets):
    embeddings = np.random.default_rng(0).normal(size=(30, 5)) * np.arange(1, 31)[:, None]
    found = behaviour_neighbours(embeddings, OFFSETS, 4, scope)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, _by_hand(embeddings, offsets, 4))


def test_an_item_is_never_its_own_neighbour_even_among_equals():
    found = behaviour_neighbours(np.ones((6, 2)), [0, 6], 3)
    assert all(len(set(row)) == 3 and item not in row for item, row in enumerate(found.tolist()))


def test_small_domains_give_fewer_and_say_so(caplog):
    found = behaviour_neighbours(np.eye(4), [0, 1, 4], 3)
    assert found[0].tolist() == [-1, -1, -1]
    assert sorted(found[1].tolist()) == [-1, 2, 3]
    assert "a domain of 3 items gives 2 neighbours, not 3" in caplog.text


def test_a_domain_without_items_is_no_news(caplog):
    found = behaviour_neighbours(np.eye(3), [0, 0, 3], 2)
    assert sorted(found[0].tolist()) == [1, 2]
    assert caplog.text == ""


def test_recall_equals_a_count_by_hand():
    rng = np.random.default_rng(1)
    behaviour, titles = rng.normal(size=(30, 4)), rng.normal(size=(30, 6))
    neighbours = _by_hand(behaviour, OFFSETS, 4).astype(np.int32)
    found = _by_hand(titles, OFFSETS, 4)
    items = [3, 7, 20]
    by_hand = np.mean([len(set(neighbours[i]) & set(found[i])) / 4 for i in items])
    assert neighbour_recall(titles, neighbours, items, OFFSETS, 4) == pytest.approx(by_hand)
    assert neighbour_recall(behaviour, neighbours, range(30), OFFSETS, 4) == 1.0


def test_recall_counts_only_the_neighbours_that_there_are():
    vectors = np.array([[1.0, 0], [0.9, 0.1], [0, 1.0], [0.1, 0.9]])
    neighbours = np.array([[1, -1], [-1, -1], [0, 3], [2, -1]], np.int32)
    # Each item's nearest title: 0 -> 1 and 2 -> 3 and 3 -> 2; item 1 is not judged.
    assert neighbour_recall(vectors, neighbours, [0, 1, 2, 3], [0, 4], k=1) == pytest.approx(2 / 3)
    with pytest.raises(SettingsError, match="none of 1 items has a neighbour"):
        neighbour_recall(vectors, neighbours, [1], [0, 4])


def test_examples_show_before_and_after():
    titles = ["tea", "kettle", "pot", "pen"]
    before = np.array([[1.0, 0], [0, 1.0], [0, 1.0], [1.0, 0.1]])
    after = np.array([[1.0, 0], [1.0, 0.1], [0, 1.0], [0, 1.0]])
    neighbours = np.array([[1, 2], [0, 2], [0, 1], [2, -1]], np.int32)
    examples = example_matches(titles, neighbours, before, after, [0, 3], [0, 4], k=1)
    assert [(e.title, e.behaviour, e.before, e.after) for e in examples] == [
        ("tea", ("kettle",), ("pen",), ("kettle",)),
        ("pen", ("pot",), ("tea",), ("pot",)),
    ]


def test_held_out_items_are_seeded():
    held = hold_out(1000, 0.1, seed=3)
    assert len(set(held.tolist())) == 100 and held.min() >= 0 and held.max() < 1000
    np.testing.assert_array_equal(held, hold_out(1000, 0.1, seed=3))
    assert held.tolist() != hold_out(1000, 0.1, seed=4).tolist()


def test_bad_input_is_refused():
    with pytest.raises(SettingsError, match="leave out the padding row"):
        behaviour_neighbours(np.eye(5), [0, 4], 2)
    with pytest.raises(SettingsError, match="neighbours is 0"):
        behaviour_neighbours(np.eye(5), [0, 5], 0)
    with pytest.raises(SettingsError, match="unknown scope 'near'"):
        behaviour_neighbours(np.eye(5), [0, 5], 2, "near")
