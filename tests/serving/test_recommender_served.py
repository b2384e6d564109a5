"""The served recommender against NumPy: ids equal, scores within 1e-5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from idp_tf.data.schema import IdMap
from serving.client import ServingClient, ServingClientError
from serving.export.item_table import ItemTable
from serving.export.ranking import Ranker, exact_ranker, scann_ranker
from serving.export.requests import last_known

Expect = Callable[[Sequence[str], int], list[tuple[str, float]]]
MODELS = ("recommender", "recommender_scann")
NUM_ITEMS = 60

HISTORIES = {
    "one item": ["item-3"],
    "gaps and unknown ids anywhere": ["", "item-3", "nobody", "", "item-14", ""],
    "longer than the encoder reads": [f"item-{i}" for i in range(0, 40, 3)],
    "an item twice": ["item-5", "item-9", "item-5"],
    "other letters": ["thé [vert]", "item-2"],
}


def assert_same(answer: list[tuple[str, float]], expected: list[tuple[str, float]]) -> None:
    assert [item for item, _ in answer] == [item for item, _ in expected]
    np.testing.assert_allclose(
        [score for _, score in answer], [score for _, score in expected], atol=1e-5
    )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
@pytest.mark.parametrize("k", [1, 7, NUM_ITEMS])
def test_answers_equal_the_library(
    client: ServingClient, expect: Expect, model: str, history: list[str], k: int
) -> None:
    assert_same(client.recommend([history], k, model)[0], expect(history, k))


@pytest.mark.parametrize("model", MODELS)
def test_a_row_does_not_depend_on_its_batch(
    client: ServingClient, expect: Expect, model: str
) -> None:
    histories = list(HISTORIES.values())
    for answer, history in zip(client.recommend(histories, 6, model), histories, strict=True):
        assert_same(answer, expect(history, 6))


@pytest.mark.parametrize("model", MODELS)
def test_the_tail_is_empty_where_nothing_is_left(
    client: ServingClient, item_ids: IdMap, model: str
) -> None:
    all_but_two = item_ids.external_ids[2:]
    outputs = client.predict(model, {"item_ids": [all_but_two], "k": np.int32(4)})
    assert set(outputs["item_ids"][0, :2]) == {i.encode() for i in item_ids.external_ids[:2]}
    assert outputs["item_ids"][0, 2:].tolist() == [b"", b""]
    assert np.isneginf(outputs["scores"][0, 2:]).all()
    assert np.isfinite(outputs["scores"][0, :2]).all()
    assert outputs["num_known"].tolist() == [NUM_ITEMS - 2]


@pytest.mark.parametrize("model", MODELS)
def test_known_ids_are_counted(client: ServingClient, model: str) -> None:
    rows = [["item-1", "nobody", ""], ["", "item-1", "item-1"]]
    outputs = client.predict(model, {"item_ids": rows, "k": np.int32(2)})
    assert outputs["num_known"].tolist() == [1, 2]
    assert outputs["num_known"].dtype == np.int32
    assert outputs["scores"].dtype == np.float32


@pytest.mark.parametrize("model", MODELS)
def test_twins_come_in_the_order_of_the_ids(
    client: ServingClient, item_ids: IdMap, model: str
) -> None:
    first, second = item_ids.external_ids[10], item_ids.external_ids[11]
    answer = [item for item, _ in client.recommend([["item-3"]], NUM_ITEMS - 1, model)[0]]
    assert answer.index(second) == answer.index(first) + 1


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_of_no_rows_gives_no_rows(client: ServingClient, model: str) -> None:
    no_rows = np.zeros((0, 3), dtype=object)
    outputs = client.predict(model, {"item_ids": no_rows, "k": np.int32(4)})
    assert outputs["item_ids"].shape == (0, 4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("histories", "k", "message"),
    [
        ([["item-1"]], 0, "k must be between 1 and 60, got 0"),
        ([["item-1"]], -3, "k must be between 1 and 60, got -3"),
        ([["item-1"]], 61, "k must be between 1 and 60, got 61"),
        ([["item-1"]], 2**31 - 1, "k must be between 1 and 60, got 2147483647"),
        ([["nobody"]], 3, "row 0 of item_ids holds no known item id; send at least one"),
        ([[]], 3, "row 0 of item_ids holds no known item id"),
        ([["item-1"], ["item-2"], ["", "no"]], 3, "row 2 of item_ids holds no known item id"),
    ],
)
def test_requests_that_cannot_be_met(
    client: ServingClient, model: str, histories: list[list[str]], k: int, message: str
) -> None:
    with pytest.raises(ServingClientError) as caught:
        client.recommend(histories, k, model)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert message in caught.value.message


@pytest.mark.parametrize("model", MODELS)
def test_k_for_each_row(client: ServingClient, expect: Expect, model: str) -> None:
    """What batching needs: each row as if it were alone, the answer as wide as the widest."""
    histories = list(HISTORIES.values())
    width = max(map(len, histories))
    rows = [row + [""] * (width - len(row)) for row in histories]
    asked = np.array([3, 7, 1, 5, 2], np.int32)
    outputs = client.predict(model, {"item_ids": rows, "k": asked})
    assert outputs["item_ids"].shape == outputs["scores"].shape == (5, 7)
    for history, k, names, scores in zip(
        histories, asked, outputs["item_ids"], outputs["scores"], strict=True
    ):
        answer = [(name.decode(), float(score)) for name, score in zip(names, scores, strict=True)]
        assert_same(answer[:k], expect(history, k))
        assert answer[k:] == [("", -np.inf)] * (7 - k)


@pytest.mark.parametrize("model", MODELS)
def test_a_row_that_cannot_be_met_spoils_no_other(
    client: ServingClient, expect: Expect, model: str
) -> None:
    """Where each row has its k, rows are other people's requests."""
    rows = [["item-3", ""], ["nobody", ""], ["item-5", "item-9"], ["item-1", ""]]
    k = np.array([2, 4, -3, NUM_ITEMS + 9], np.int32)
    outputs = client.predict(model, {"item_ids": rows, "k": k})
    assert outputs["num_known"].tolist() == [1, 0, 2, 1]
    assert outputs["item_ids"].shape == (4, NUM_ITEMS)
    first = [
        (n.decode(), float(s))
        for n, s in zip(outputs["item_ids"][0], outputs["scores"][0], strict=True)
    ]
    assert_same(first[:2], expect(rows[0], 2))
    assert set(outputs["item_ids"][1:3].ravel()) == {b""}
    assert np.isneginf(outputs["scores"][1:3]).all()
    assert np.isfinite(outputs["scores"][3]).sum() == NUM_ITEMS - 1


@pytest.mark.parametrize("k", [[2, 2], [2, 2, 2, 2], [[2], [2], [2]]])
def test_k_that_fits_no_rows(client: ServingClient, k: list[int]) -> None:
    with pytest.raises(ServingClientError, match="one number, or one for each row"):
        client.predict("recommender", {"item_ids": [["item-1"]] * 3, "k": np.array(k, np.int32)})


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 6).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 3), min_size=width, max_size=width), min_size=1, max_size=4
        )
    ),
    max_length=st.integers(1, 8),
)
def test_last_known_packs_to_the_right(rows: list[list[int]], max_length: int) -> None:
    expected = []
    for row in rows:
        known = [i for i in row if i][-max_length:]
        expected.append([0] * (max_length - len(known)) + known)
    packed = last_known(tf.constant(rows, tf.int32), max_length)
    assert packed.numpy().tolist() == expected


def exact(vectors: np.ndarray) -> Ranker:
    return exact_ranker(ItemTable(vectors))


def scann(vectors: np.ndarray) -> Ranker:
    return scann_ranker(ItemTable(vectors), vectors)


@pytest.mark.parametrize("build", [exact, scann])
def test_equal_scores_come_in_the_order_of_the_rows(build: Callable[..., Any]) -> None:
    """40 vectors of small integers, each in five places: products are exact, so all tie."""
    rng = np.random.default_rng(4)
    distinct = rng.integers(-4, 5, size=(40, 8)).astype(np.float32)
    vectors = distinct[rng.permutation(np.repeat(np.arange(40), 5))]
    query = rng.integers(-4, 5, size=(1, 8)).astype(np.float32)
    _, rows = build(vectors)(tf.constant(query), tf.constant([[0]]), tf.constant(30))
    products = (vectors @ query[0]).tolist()
    expected = sorted(range(200), key=lambda row: (-products[row], row))[:30]
    assert rows.numpy()[0].tolist() == expected


@pytest.fixture(scope="module")
def many_vectors() -> np.ndarray:
    """More than ScaNN searches whole: 6,000 vectors, of which it looks at five sixths."""
    return np.random.default_rng(1).normal(size=(6_000, 8)).astype(np.float32)


def test_scann_answers_exactly_where_it_finds_too_few(many_vectors: np.ndarray) -> None:
    """k is the whole catalogue, more than the searched leaves hold."""
    users = tf.constant(many_vectors[:2])
    seen = tf.constant([[3, 0], [4, 9]])
    k = len(many_vectors)
    exact_scores, exact_rows = exact(many_vectors)(users, seen, tf.constant(k))
    scores, rows = scann(many_vectors)(users, seen, tf.constant(k))
    np.testing.assert_array_equal(rows[:, : k - 2], exact_rows[:, : k - 2])
    np.testing.assert_allclose(scores[:, : k - 2], exact_scores[:, : k - 2], atol=1e-5)


def test_scann_finds_nearly_all_with_exact_scores(many_vectors: np.ndarray) -> None:
    queries = np.random.default_rng(2).normal(size=(64, 8)).astype(np.float32)
    seen = np.tile(np.arange(1, 31, dtype=np.int32), (64, 1))
    scores, rows = scann(many_vectors)(tf.constant(queries), tf.constant(seen), tf.constant(10))
    products = queries @ many_vectors.T
    np.testing.assert_allclose(
        scores, np.take_along_axis(products, rows.numpy(), axis=1), atol=1e-5
    )
    products[:, :30] = -np.inf
    best = np.argsort(-products, axis=1)[:, :10]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(best, rows.numpy(), strict=True)])
    assert recall > 0.95
    assert (rows.numpy() >= 30).all()
