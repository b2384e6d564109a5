"""What ``train`` and ``evaluate`` stand on: the plain baseline, the data, the peers, the goals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tiny_world import invoke

from benchmarks import evaluate, peers, train
from benchmarks.domains import Prepared
from benchmarks.plain_keras import PlainSASRec
from benchmarks.train_ours import validate
from idp_tf.data.sequences import Sequences
from idp_tf.errors import MissingDataError
from idp_tf.evaluation.ranking import Scorer
from idp_tf.optimizers import LazyAdam


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_real_data_is_asked_for(name: str) -> None:
    done = invoke("bench", name)
    assert done.code != 0
    assert "--data" in done.err


def test_missing_peers_are_found_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "_PYTHON", tmp_path / "python")
    with pytest.raises(MissingDataError, match="make bench-peers"):
        train.bench(smoke=False, data=tmp_path)


def test_plain_sasrec_looks_back_only() -> None:
    model = PlainSASRec(9, embedding_dim=8, max_length=5)
    ids = np.array([[0, 1, 2, 3], [0, 1, 2, 9]], np.int32)
    hidden = model(ids).numpy()
    # The first position is padding, and means nothing.
    np.testing.assert_allclose(hidden[0, 1:3], hidden[1, 1:3], atol=1e-6)
    assert np.abs(hidden[0, 3] - hidden[1, 3]).max() > 1e-3
    # Nor does it change what follows it.
    np.testing.assert_allclose(model(ids[:1, 1:]).numpy()[0], hidden[0, 1:], atol=1e-5)


def test_plain_adam_walks_the_whole_table() -> None:
    """Rows without a gradient go on moving by their momentum; ours stay where they are."""
    batch = {
        name: tf.constant([[id_]], tf.int32)
        for name, id_ in (("item_ids", 1), ("positive_ids", 2), ("negative_ids", 3))
    }
    other = {
        name: tf.constant([[id_]], tf.int32)
        for name, id_ in (("item_ids", 4), ("positive_ids", 5), ("negative_ids", 6))
    }
    moved = []
    for optimizer in (tf_keras.optimizers.Adam(0.1), LazyAdam(0.1)):
        model = PlainSASRec(9, embedding_dim=8, max_length=5, dropout=0.0)
        model.compile(optimizer=optimizer)
        model.train_step(batch)
        before = model.item_vectors().numpy()[2]
        model.train_step(other)
        moved.append(float(np.abs(model.item_vectors().numpy()[2] - before).max()))
    assert moved[0] > 1e-3
    assert moved[1] == 0.0


def test_validation_of_a_peers_vectors() -> None:
    """Two users; the first one's target is first, the second one's is third: 1 and 1 / 2."""
    sequences = Sequences(np.array([1, 2, 3, 4, 1, 5], np.int32), np.array([0, 3, 6]))
    prepared = Prepared(sequences, np.array([[1, 5], [1, 5]]))
    users = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    # Items 0 … 5; user 0 has trained on 1, user 1 on 4; their targets are 2 and 1.
    items = np.array([[0, 0], [9, 3], [5, 8], [1, 0], [2, 9], [3, 7]], np.float32)
    value = validate(prepared, Scorer("peer", lambda ids: users, items, 1), block=2)
    assert value == pytest.approx((1 + 0.5) / 2)


def test_the_goal_of_full_ranking_has_two_ways() -> None:
    theirs = {"full": 100.0, "sampled": 1.0}

    def met(full: float, floor: float) -> list[bool]:
        ours = {"full": full, "sampled": 250.0, "floor": floor}
        return [goal.met for goal in evaluate._goals("x", ours, theirs)]

    assert met(1000.0, 5000.0) == [True, True, True]
    assert met(500.0, 600.0) == [True, True, True]
    assert met(500.0, 700.0) == [False, False, True]
