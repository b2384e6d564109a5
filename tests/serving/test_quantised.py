"""Tables in fewer bytes: scores by NumPy from the rounded vectors, sizes, and what is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from exported import Session

from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import SettingsError
from idp_tf.layers import TitleItems
from idp_tf.models import SASRec
from serving.export import export_recommender
from serving.export.item_table import ItemTable

NUM_ITEMS, DIM, LENGTH = 60, 8, 5


def rounded(vectors: np.ndarray, dtype: str) -> np.ndarray:
    """What is left of the vectors, worked out row by row in float64."""
    if dtype == "bfloat16":  # the upper half of the bits, to the nearest even
        bits = vectors.view(np.uint32).astype(np.uint64)
        kept = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
        return kept.astype(np.uint32).view(np.float32)
    rows = []
    for row in vectors.astype(np.float64):
        scale = max(abs(row)) / 127 or 1.0
        rows.append([round(value / scale) * scale for value in row])
    return np.array(rows, np.float32)


@pytest.mark.parametrize(("dtype", "nbytes"), [("bfloat16", 40 * 8 * 2), ("int8", 40 * (8 + 4))])
def test_a_table_of_fewer_bytes(dtype: Any, nbytes: int) -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(40, 8)) * rng.lognormal(0, 3, (40, 1))).astype(np.float32)
    vectors[7] = 0
    table = ItemTable(vectors, dtype)
    assert table.nbytes == nbytes
    expected = rounded(vectors, dtype)
    np.testing.assert_allclose(table.rows(tf.range(40)), expected, rtol=1e-5)
    assert not np.allclose(expected, vectors, rtol=1e-4)
    # No value is off by more than half a step of its row.
    most = np.abs(vectors).max(axis=1, keepdims=True)
    assert (np.abs(expected - vectors) <= most / 254 * 1.01).all()
    users = rng.normal(size=(3, 8)).astype(np.float32)
    scores = users.astype(np.float64) @ expected.T
    np.testing.assert_allclose(table.scores(tf.constant(users)), scores, rtol=1e-4, atol=1e-3)


def test_an_unknown_dtype() -> None:
    with pytest.raises(SettingsError, match="unknown dtype 'int4'"):
        ItemTable(np.zeros((2, 2), np.float32), "int4")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sequences() -> Sequences:
    """30 users of 3 to 9 items each."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(3, 10, 30)
    values = rng.integers(1, NUM_ITEMS + 1, lengths.sum()).astype(np.int32)
    return Sequences(values, np.concatenate([[0], np.cumsum(lengths)]))


def best(model: SASRec, vectors: np.ndarray, items: list[int], k: int) -> list[tuple[int, float]]:
    """The answer from these vectors, read and ranked."""
    kept = model.item_embedding.get_weights()
    model.item_embedding.set_weights([np.vstack([np.zeros((1, DIM), np.float32), vectors])])
    window = ([0] * LENGTH + items)[-LENGTH:]
    scores = vectors @ model.encode_users(np.array([window], np.int32)).numpy()[0]
    model.item_embedding.set_weights(kept)
    rest = [row for row in range(NUM_ITEMS) if row + 1 not in items]
    order = sorted(rest, key=lambda row: (-round(float(scores[row]), 5), row))
    return [(row, float(scores[row])) for row in order[:k]]


@pytest.mark.parametrize("scann", [False, True])
@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_a_quantised_export(
    sequence_model: SASRec,
    item_ids: IdMap,
    sequences: Sequences,
    tmp_path: Path,
    dtype: Any,
    scann: bool,
) -> None:
    version = export_recommender(
        sequence_model, item_ids, tmp_path, scann=scann, table=dtype, sequences=sequences
    )
    vectors = np.asarray(sequence_model.item_vectors())[1:]
    fewer = rounded(vectors, dtype)
    history = [3, 9, 20]
    names = [item_ids.external_ids[item - 1] for item in history]
    with Session(version) as session:
        answer = session.ask(item_ids=[names], k=np.int32(7))
    expected = best(sequence_model, fewer, history, 7)
    np.testing.assert_allclose(answer["scores"][0], [score for _, score in expected], atol=1e-4)
    assert [name.decode() for name in answer["item_ids"][0]] == [
        item_ids.external_ids[row] for row, _ in expected
    ]

    told = json.loads((version / "assets.extra/signature.json").read_text())
    assert told["table"] == dtype and told["float32_table_bytes"] == NUM_ITEMS * DIM * 4
    assert told["table_bytes"] == NUM_ITEMS * (DIM * 2 if dtype == "bfloat16" else DIM + 4)
    shares = []
    for user in range(sequences.num_users):
        items = sequences.values[sequences.offsets[user] : sequences.offsets[user + 1]].tolist()
        exact, kept = (best(sequence_model, table, items, 10) for table in (vectors, fewer))
        shares.append(len({row for row, _ in exact} & {row for row, _ in kept}) / 10)
    assert told["overlap_users"] == 30
    # A tie at the tenth place may go either way.
    assert told["overlap_at_10"] == pytest.approx(np.mean(shares), abs=0.004)


def test_items_of_titles_are_read_as_ever(sequence_model: SASRec, tmp_path: Path) -> None:
    """Only what they are ranked by is quantised: what is read of them is no row of that table."""
    titles = np.pad(np.random.default_rng(1).normal(size=(20, 6)), [(1, 0), (0, 0)])
    model = SASRec(20, DIM, num_layers=1, max_length=LENGTH, items=TitleItems(titles, DIM))
    ids = IdMap([f"t{i}" for i in range(20)])
    version = export_recommender(model, ids, tmp_path, table="int8")
    with Session(version) as session:
        answer = session.ask("score", item_ids=[["t3"]], candidate_item_ids=[["t5", "t6"]])
    user = model.encode_users(np.array([[0, 0, 0, 0, 4]], np.int32)).numpy()[0]
    table = rounded(np.asarray(model.item_vectors())[1:], "int8")
    np.testing.assert_allclose(answer["scores"], [table[5:7] @ user], atol=1e-5)
