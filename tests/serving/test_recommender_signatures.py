"""A shop's stock, and a ranker's candidates: both forms in a session, against NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from exported import Session

from idp_tf.data.schema import IdMap
from idp_tf.models import SASRec
from serving.export.item_table import ItemTable
from serving.export.ranking import scann_ranker
from serving.server.request_checks import RequestError

NUM_ITEMS = 60
HISTORIES = [["item-3", "", "nobody"], ["item-5", "item-9", "item-14"]]


@pytest.fixture(scope="module", params=["recommender", "recommender_scann"])
def served(request: pytest.FixtureRequest, exports: Path) -> Iterator[Session]:
    """One form of the recommender."""
    with Session(exports / request.param / "1") as session:
        yield session


@pytest.fixture(scope="module")
def all_scores(sequence_model: SASRec, item_ids: IdMap) -> list[dict[str, float]]:
    """For each history the score of every item."""
    table = np.asarray(sequence_model.item_vectors())
    found = []
    for history in HISTORIES:
        known = [i for i in item_ids.to_internal(history).tolist() if i]
        window = ([0] * sequence_model.max_length + known)[-sequence_model.max_length :]
        user = sequence_model.encode_users(np.array([window], np.int32)).numpy()[0]
        found.append(dict(zip(item_ids.external_ids, (table @ user)[1:].tolist(), strict=True)))
    return found


def best(scores: dict[str, float], left_out: list[str], k: int) -> list[str]:
    rest = [item for item in scores if item not in left_out]
    return sorted(rest, key=lambda item: -round(scores[item], 6))[:k]


def names(rows: np.ndarray) -> list[list[str]]:
    return [[name.decode() for name in row] for row in rows]


def test_without_lists_it_is_the_default(served: Session) -> None:
    inputs = {"item_ids": HISTORIES, "k": np.int32(7)}
    plain = served.ask(**inputs)
    for nothing in ([["", ""]] * 2, np.zeros((2, 0), object)):
        full = served.ask("recommend", **inputs, exclude_item_ids=nothing, allowed_item_ids=nothing)
        assert full.keys() == plain.keys()
        np.testing.assert_array_equal(full["item_ids"], plain["item_ids"])
        np.testing.assert_allclose(full["scores"], plain["scores"], rtol=0, atol=1e-6)


def test_excluded_and_allowed(
    served: Session, item_ids: IdMap, all_scores: list[dict[str, float]]
) -> None:
    """Of each row its own lists count; unknown ids in them are skipped."""
    excluded = [best(all_scores[0], HISTORIES[0], 2), ["nobody", ""]]
    stock = item_ids.external_ids[5:20]
    allowed = [[*stock, "elsewhere"], [*stock[:3], *[""] * 13]]
    answer = served.ask(
        "recommend",
        item_ids=HISTORIES,
        k=np.array([6, 4], np.int32),
        exclude_item_ids=excluded,
        allowed_item_ids=allowed,
    )
    for row, k in enumerate((6, 4)):
        scores = {item: all_scores[row][item] for item in allowed[row] if item in all_scores[row]}
        expected = best(scores, HISTORIES[row] + excluded[row], k)
        found = names(answer["item_ids"])[row]
        assert found == expected + [""] * (6 - len(expected))
        np.testing.assert_allclose(
            answer["scores"][row, : len(expected)], [scores[i] for i in expected], atol=1e-5
        )
        assert np.isneginf(answer["scores"][row, len(expected) :]).all()


def test_one_stock_for_all_rows(
    served: Session, item_ids: IdMap, all_scores: list[dict[str, float]]
) -> None:
    stock = item_ids.external_ids[30:40]
    answer = served.ask(
        "recommend",
        item_ids=HISTORIES,
        k=np.int32(5),
        exclude_item_ids=np.zeros((2, 0), object),
        allowed_item_ids=[stock],
    )
    for row, scores in enumerate(all_scores):
        in_stock = {item: scores[item] for item in stock}
        assert names(answer["item_ids"])[row] == best(in_stock, HISTORIES[row], 5)


def test_a_stock_of_nothing_known_gives_nothing(served: Session) -> None:
    answer = served.ask(
        "recommend",
        item_ids=HISTORIES,
        k=np.int32(3),
        exclude_item_ids=[[""], [""]],
        allowed_item_ids=[["elsewhere"], [""]],
    )
    assert names(answer["item_ids"])[0] == ["", "", ""]
    assert np.isneginf(answer["scores"][0]).all()
    assert np.isfinite(answer["scores"][1]).all()
    assert answer["num_known"].tolist() == [1, 3]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"exclude_item_ids": [[""]]}, "exclude_item_ids has 1 rows, item_ids 2 rows"),
        ({"allowed_item_ids": [[""]] * 3}, "allowed_item_ids has 3 rows, item_ids 2 rows"),
    ],
)
def test_lists_that_fit_no_rows(
    served: Session, lists: dict[str, list[list[str]]], message: str
) -> None:
    good = {"exclude_item_ids": [[""], [""]], "allowed_item_ids": [[""]]}
    with pytest.raises(RequestError, match=message):
        served.ask("recommend", item_ids=HISTORIES, k=np.int32(3), **{**good, **lists})


def test_scores_of_candidates(served: Session, all_scores: list[dict[str, float]]) -> None:
    """Seen candidates and twins have their scores; what is unknown has none."""
    candidates = [["item-3", "item-20", "nobody", ""], ["thé [vert]", "item-20", "item-20", "a"]]
    answer = served.ask("score", item_ids=HISTORIES, candidate_item_ids=candidates)
    assert answer["scores"].dtype == np.float32
    expected = [
        [scores.get(item, -np.inf) for item in row]
        for scores, row in zip(all_scores, candidates, strict=True)
    ]
    assert np.isneginf(expected).sum() == 3
    np.testing.assert_allclose(answer["scores"], expected, atol=1e-5)


def test_scores_of_a_user_of_whom_nothing_is_known(served: Session) -> None:
    rows = [["nobody"], ["item-1"]]
    answer = served.ask("score", item_ids=rows, candidate_item_ids=[["item-2"], ["item-2"]])
    assert np.isneginf(answer["scores"][0]).all()
    assert np.isfinite(answer["scores"][1]).all()
    with pytest.raises(RequestError, match="candidate_item_ids has 1 rows"):
        served.ask("score", item_ids=rows, candidate_item_ids=[["item-2"]])


def test_scann_loses_no_item_of_a_stock() -> None:
    """The allowed items are those that stand last, which ScaNN would not propose."""
    vectors = np.random.default_rng(1).normal(size=(6_000, 8)).astype(np.float32)
    users = vectors[:2]
    order = np.argsort(-(users @ vectors.T), axis=1)
    allowed = np.zeros((2, 6_000), bool)
    allowed[0, order[0, -20:]] = True
    allowed[1] = True
    scores, rows = scann_ranker(ItemTable(vectors), vectors)(
        tf.constant(users), tf.constant([[0], [0]]), tf.constant(5), tf.constant(allowed)
    )
    assert rows.numpy()[0].tolist() == order[0, -20:-15].tolist()
    np.testing.assert_allclose(
        scores, np.take_along_axis(users @ vectors.T, rows.numpy(), axis=1), atol=1e-5
    )
    assert len(set(rows.numpy()[1]) & set(order[1, :5])) >= 4
