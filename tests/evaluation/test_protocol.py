"""Both protocols against a naive re-implementation in plain Python."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp_tf.data.sequences import Sequences
from idp_tf.errors import DataError, SettingsError
from idp_tf.evaluation import Scorer, evaluate, sample_negatives


def of_lists(histories: list[list[int]]) -> Sequences:
    values = np.array([item for history in histories for item in history], np.int32)
    return Sequences(values, np.cumsum([0] + [len(history) for history in histories]))


def sum_scorer(item_vectors: np.ndarray, max_length: int = 3) -> Scorer:
    """The user's vector is the sum of the last items' vectors."""
    return Scorer("sum", lambda ids: item_vectors[ids].sum(axis=1), item_vectors, max_length)


def naive_rank(
    history: list[int], target: int, candidates: set[int], vectors: list[list[int]], length: int
) -> int:
    user = [Fraction(0)] * len(vectors[0])
    for item in history[-length:]:
        user = [a + b for a, b in zip(user, vectors[item], strict=True)]

    def score(item: int) -> Fraction:
        return sum((a * b for a, b in zip(user, vectors[item], strict=True)), Fraction(0))

    return 1 + sum(1 for item in candidates - {target} if score(item) >= score(target))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    """Histories of at least 3 items with repeats, and small integer vectors with many ties."""
    num_items = draw(st.integers(6, 14))
    entry = st.integers(-2, 2)
    vectors = [[0, 0]] + [[draw(entry), draw(entry)] for _ in range(num_items)]
    item = st.integers(1, num_items)
    histories = draw(st.lists(st.lists(item, min_size=3, max_size=6), min_size=1, max_size=7))
    return histories, vectors


@settings(max_examples=150, deadline=None)
@given(worlds(), st.sampled_from(["validation", "test"]), st.integers(1, 4))
def test_ranks_equal_the_naive_ones(
    world: tuple[list[list[int]], list[list[int]]], split: str, block: int
) -> None:
    histories, vectors = world
    num_items = len(vectors) - 1
    n = min(num_items - len(set(history)) for history in histories)
    protocols = ["full", f"sampled-{n}"] if n else ["full"]
    sequences = of_lists(histories)
    negatives = sample_negatives(sequences, num_items, n, seed=0) if n else None
    found = evaluate(
        sum_scorer(np.array(vectors, np.float32)),
        sequences,
        split=split,
        num_items=num_items,
        protocols=protocols,
        negatives=negatives,
        block=block,
    )
    left_out = 2 if split == "validation" else 1
    for user, history in enumerate(histories):
        shown, target = history[:-left_out], history[-left_out]
        everything = set(range(1, num_items + 1)) - set(shown)
        assert found["full"][user] == naive_rank(shown, target, everything, vectors, 3)
        if negatives is not None:
            drawn = set(negatives[user].tolist())
            assert found[f"sampled-{n}"][user] == naive_rank(shown, target, drawn, vectors, 3)


def test_hand_example() -> None:
    # One user, 1 2 | 3 | 4. Scores are the item's own number in a table of one dimension.
    vectors = np.array([[0.0], [9.0], [1.0], [5.0], [7.0], [8.0]], np.float32)
    scorer = Scorer("flat", lambda ids: np.ones((len(ids), 1)), vectors, 1)
    sequences = of_lists([[1, 2, 3, 4]])
    # Validation: target 3 (score 5) among 3, 4, 5; the test item 4 is a candidate.
    assert evaluate(scorer, sequences, split="validation", num_items=5, protocols=["full"])[
        "full"
    ].tolist() == [3]
    # Test: target 4 (score 7) among 4, 5, since 1, 2 and the validation item 3 are seen.
    assert evaluate(scorer, sequences, split="test", num_items=5, protocols=["full"])[
        "full"
    ].tolist() == [2]


def test_the_input_of_each_split() -> None:
    shown: list[list[int]] = []

    def record(ids: np.ndarray) -> np.ndarray:
        shown.extend(ids.tolist())
        return np.ones((len(ids), 1))

    scorer = Scorer("spy", record, np.arange(6.0)[:, None], 3)
    for split in ("validation", "test"):
        evaluate(
            scorer,
            of_lists([[1, 2, 3, 4], [5, 4, 3]]),
            split=split,
            num_items=5,
            protocols=["full", "sampled-1"],
            negatives=np.array([[5], [1]], np.int32),
        )
    # Each user once for both protocols, short histories first, and as long as the longest of
    # the block; the test input holds the validation item.
    assert shown == [[0, 5], [1, 2], [0, 5, 4], [1, 2, 3]]


def test_blocks_of_users_of_about_one_length_change_no_rank() -> None:
    rng = np.random.default_rng(0)
    sequences = of_lists(
        [rng.integers(1, 31, size=rng.integers(3, 12)).tolist() for _ in range(40)]
    )
    vectors = rng.integers(-4, 5, size=(31, 3)).astype(np.float32)
    vectors[0] = 0
    widths: list[int] = []

    def encode(ids: np.ndarray) -> np.ndarray:
        widths.append(ids.shape[1])
        return vectors[ids].sum(axis=1)

    scorer = Scorer("sum", encode, vectors, 6)
    found = evaluate(
        scorer, sequences, split="test", num_items=30, protocols=["full"], users=[7, 3, 21], block=2
    )["full"]
    expected = []
    for user in (7, 3, 21):
        items = sequences.values[sequences.offsets[user] : sequences.offsets[user + 1]]
        scores = vectors @ vectors[items[-7:-1]].sum(axis=0)
        rivals = sorted({*range(1, 31)} - set(items[:-1].tolist()) - {int(items[-1])})
        expected.append(1 + int((scores[rivals] >= scores[items[-1]]).sum()))
    assert found.tolist() == expected
    assert widths == sorted(widths)
    lengths = np.sort(np.minimum(sequences.lengths[[7, 3, 21]] - 1, 6))
    assert widths == [lengths[1], lengths[2]]


def test_constant_scores_get_the_worst_rank() -> None:
    scorer = Scorer("flat", lambda ids: np.ones((len(ids), 4)), np.ones((8, 4)), 2)
    found = evaluate(
        scorer,
        of_lists([[1, 2, 3]]),
        split="test",
        num_items=7,
        protocols=["full", "sampled-2"],
        negatives=np.array([[5, 6]], np.int32),
    )
    assert found["full"].tolist() == [5] and found["sampled-2"].tolist() == [3]


def test_equal_vectors_tie_whatever_the_matrix_product_rounds() -> None:
    # 301 items, all of one vector: a BLAS may round edge columns differently.
    random = np.random.default_rng(0)
    vector = random.normal(size=64).astype(np.float32)
    items = np.tile(vector, (302, 1))
    users = random.normal(size=(40, 64)).astype(np.float32)
    sequences = of_lists([[1 + u, 100 + u, 299 - u] for u in range(40)])
    scorer = Scorer("one", lambda ids: users[: len(ids)], items, 5)
    found = evaluate(scorer, sequences, split="test", num_items=301, protocols=["full"])
    assert found["full"].tolist() == [299] * 40


def test_a_target_that_was_seen_is_ranked_all_the_same() -> None:
    scores = np.array([[0.0], [3.0], [2.0], [1.0]], np.float32)
    scorer = Scorer("flat", lambda ids: np.ones((len(ids), 1)), scores, 1)
    found = evaluate(scorer, of_lists([[2, 1, 2]]), split="test", num_items=3, protocols=["full"])
    # Item 1 is seen and leaves; item 2, seen too, is the target and beats item 3.
    assert found["full"].tolist() == [1]


def test_ranges_rank_each_user_within_the_own_domain() -> None:
    scores = np.arange(7.0, dtype=np.float32)[:, None]
    scorer = Scorer("flat", lambda ids: np.ones((len(ids), 1)), scores, 1)
    sequences = of_lists([[1, 2, 3], [6, 5, 4], [2, 3, 1]])
    found = evaluate(
        scorer,
        sequences,
        split="test",
        num_items=6,
        protocols=["full"],
        item_low=[1, 4, 1],
        item_high=[3, 6, 3],
        block=1,
    )
    assert found["full"].tolist() == [1, 1, 1]
    whole = evaluate(scorer, sequences, split="test", num_items=6, protocols=["full"])
    assert whole["full"].tolist() == [4, 1, 4]


def test_users_and_blocks_do_not_change_a_rank() -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(51, 8)).astype(np.float32)
    sequences = of_lists([random.integers(1, 51, size=6).tolist() for _ in range(30)])
    negatives = sample_negatives(sequences, 50, 20, seed=0)
    protocols = ["sampled-20", "full"]
    whole = evaluate(
        sum_scorer(vectors), sequences, split="test", num_items=50, protocols=protocols,
        negatives=negatives,
    )  # fmt: skip
    some = [7, 3, 22]
    part = evaluate(
        sum_scorer(vectors), sequences, split="test", num_items=50, protocols=protocols,
        negatives=negatives[some], users=some, block=2,
    )  # fmt: skip
    for protocol in protocols:
        np.testing.assert_array_equal(part[protocol], whole[protocol][some])
        assert whole[protocol].dtype == np.int32
    assert (whole["sampled-20"] <= whole["full"]).all()


@pytest.mark.parametrize("place", ["users", "items"])
def test_values_that_are_not_finite_are_refused(place: str) -> None:
    items = np.ones((4, 2), np.float32)
    users = np.ones((1, 2), np.float32)
    (items if place == "items" else users)[0, 1] = np.nan
    scorer = Scorer("broken", lambda ids: users, items, 1)
    with pytest.raises(DataError, match=r"broken: NaN among the .*vectors"):
        evaluate(scorer, of_lists([[1, 2, 3]]), split="test", num_items=3, protocols=["full"])


def test_scores_that_overflow_to_nan_are_refused() -> None:
    big = np.full((4, 2), 3e38, np.float32)
    scorer = Scorer("big", lambda ids: np.array([[3e38, -3e38]] * len(ids)), big, 1)
    with np.errstate(all="ignore"), pytest.raises(DataError, match=r"big: .*among the scores"):
        evaluate(
            scorer, of_lists([[1, 2, 3]]), split="test", num_items=3, protocols=["sampled-1"],
            negatives=np.array([[3]], np.int32),
        )  # fmt: skip


def test_what_does_not_fit_is_refused() -> None:
    scorer = Scorer("flat", lambda ids: np.ones((len(ids), 1)), np.ones((4, 1)), 1)
    narrow = Scorer("narrow", lambda ids: np.ones((len(ids), 2)), np.ones((4, 1)), 1)
    sequences = of_lists([[1, 2, 3]])
    with pytest.raises(SettingsError, match="unknown split 'train'"):
        evaluate(scorer, sequences, split="train", num_items=3)
    with pytest.raises(SettingsError, match="'sampled-99' with 0 negatives"):
        evaluate(scorer, sequences, split="test", num_items=3)
    with pytest.raises(DataError, match=r"negatives of shape \(2, 1\) for 1 users"):
        evaluate(scorer, sequences, split="test", num_items=3, negatives=np.ones((2, 1), np.int32))
    with pytest.raises(DataError, match="scores 3 items, the domain has 4"):
        evaluate(scorer, sequences, split="test", num_items=4, protocols=["full"])
    with pytest.raises(DataError, match=r"narrow: user vectors have shape \(1, 2\)"):
        evaluate(narrow, sequences, split="test", num_items=3, protocols=["full"])
    with pytest.raises(DataError, match="target 3 of user 0 is not among"):
        evaluate(scorer, sequences, split="test", num_items=3, protocols=["full"], item_high=2)
    with pytest.raises(DataError, match="user 0 has fewer than 2 items"):
        evaluate(scorer, of_lists([[1]]), split="validation", num_items=3, protocols=["full"])
