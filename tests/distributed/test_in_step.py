"""Synchronous strategies train what one process trains."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from clusters import Cluster
from train_task import train_here

from idp_tf.models import load_model

TWO_WORKERS = (("worker", 0), ("worker", 1))
SEED, EPOCHS = 1, 3
HISTORIES = np.array([[0, 0, 0, 5, 6, 7, 8, 9], [0, 0, 0, 0, 0, 39, 40, 1]], np.int32)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    train_here(None, folder, SEED, EPOCHS, 0.0)
    return folder


def assert_same_training(folder: Path, alone: Path, atol: float = 1e-5) -> None:
    """What the model answers; the bias of attention's keys has no say in it, and wanders."""
    ours, theirs = load_model(folder / "model"), load_model(alone / "model")
    np.testing.assert_allclose(ours.item_vectors(), theirs.item_vectors(), atol=atol, rtol=0)
    np.testing.assert_allclose(
        ours.encode_users(HISTORIES), theirs.encode_users(HISTORIES), atol=atol, rtol=0
    )
    loss, expected = (json.loads((f / "result.json").read_text()) for f in (folder, alone))
    np.testing.assert_allclose(
        loss["state"]["history"]["loss"], expected["state"]["history"]["loss"], atol=atol
    )
    assert loss["state"]["history"]["val_ndcg@10"] == expected["state"]["history"]["val_ndcg@10"]


def assert_sparse_table(folder: Path) -> None:
    sparse = json.loads((folder / "result.json").read_text())["sparse"]
    assert (
        {name for name, is_sparse in sparse.items() if is_sparse}
        == {name for name in sparse if "embeddings" in name}
        != set()
    )


def test_two_workers_train_what_one_process_does(alone, tmp_path):
    with Cluster(tmp_path, "multi-worker", TWO_WORKERS, SEED, EPOCHS, 0.0) as cluster:
        for task in TWO_WORKERS:
            assert cluster.wait(task, 100) == 0, cluster.tail(task)
    assert_same_training(tmp_path, alone)
    assert_sparse_table(tmp_path)


@pytest.mark.slow
def test_mirrored_replicas_train_what_one_process_does(alone, tmp_path):
    with Cluster(tmp_path, "mirrored", (("worker", 0),), SEED, EPOCHS, 0.0) as cluster:
        assert cluster.wait(("worker", 0), 100) == 0, cluster.tail(("worker", 0))
    assert_same_training(tmp_path, alone)
    assert_sparse_table(tmp_path)


@pytest.mark.slow
def test_a_killed_worker_comes_back_and_the_training_ends_as_undisturbed(tmp_path):
    epochs = 40
    train_here(None, tmp_path / "alone", SEED, epochs, 0.0)
    folder = tmp_path / "two"
    with Cluster(folder, "multi-worker", TWO_WORKERS, SEED, epochs, 0.0) as cluster:
        cluster.wait_for_line(TWO_WORKERS[0], "cluster: epoch 5 ", 60)
        cluster.kill(TWO_WORKERS[1])
        assert cluster.wait(TWO_WORKERS[0], 100) != 0, "the chief went on alone"
        assert (
            "ClusterError: TF_CONFIG: cluster stopped, for another process is gone: /job:worker"
            in cluster.tail(TWO_WORKERS[0])
        )
        assert not (folder / "result.json").exists()
        for task in TWO_WORKERS:
            cluster.start(task)
        for task in TWO_WORKERS:
            assert cluster.wait(task, 100) == 0, cluster.tail(task)
        assert "goes on after epoch" in cluster.log(TWO_WORKERS[0]).read_text()
    # Through 40 epochs Adam makes more of what sums in another order differ by.
    assert_same_training(folder, tmp_path / "alone", atol=5e-5)
