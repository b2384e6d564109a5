"""Asynchronous training: sharded tables, sparse gradients, as good, and it outlives workers."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from clusters import Cluster
from train_task import NUM_ITEMS, train_here

from idp_tf.models import load_model

CHIEF, WORKERS, SERVERS = ("chief", 0), [("worker", 0), ("worker", 1)], [("ps", 0), ("ps", 1)]
TASKS = (CHIEF, *WORKERS, *SERVERS)
SEED = 1


def read_result(folder):
    return json.loads((folder / "result.json").read_text())


def test_tables_lie_on_two_servers_and_one_process_goes_on_with_them(tmp_path):
    with Cluster(tmp_path, "parameter-server", TASKS, SEED, 12, 0.2) as cluster:
        assert cluster.wait(CHIEF, 120) == 0, cluster.tail(CHIEF)
    result = read_result(tmp_path)
    assert result["shapes"][:2] == [[651, 8], [650, 8]], "the table's two shards"
    sparse = {name for name, is_sparse in result["sparse"].items() if is_sparse}
    assert len(sparse) == 2 and all("embeddings/part" in name for name in sparse)
    assert result["state"]["epoch"] == 12
    losses = result["state"]["history"]["loss"]
    assert losses[-1] < 0.7 * losses[0]
    vectors = load_model(tmp_path / "model").item_vectors().numpy()
    assert vectors.shape == (NUM_ITEMS + 1, 8) and np.abs(vectors).max() > 0.1
    # One process takes up the checkpoint, and its best weights.
    train_here(None, tmp_path, SEED, 12, 0.2)
    assert read_result(tmp_path)["shapes"][0] == [1301, 8]
    np.testing.assert_array_equal(load_model(tmp_path / "model").item_vectors(), vectors)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_ends_within_the_spread_of_three_seeds(tmp_path):
    """No further outside of what three seeds give in one process than these are apart."""
    epochs, seeds = 30, (1, 2, 3)
    for seed in seeds:
        train_here(None, tmp_path / f"alone-{seed}", seed, epochs, 0.2)
    alone = [read_result(tmp_path / f"alone-{seed}")["state"]["best_value"] for seed in seeds]
    with Cluster(tmp_path / "ps", "parameter-server", TASKS, SEED, epochs, 0.2) as cluster:
        assert cluster.wait(CHIEF, 200) == 0, cluster.tail(CHIEF)
    ours = read_result(tmp_path / "ps")["state"]["best_value"]
    spread = max(alone) - min(alone)
    assert min(alone) - spread <= ours <= max(alone) + spread, (ours, alone)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("comes_back", [False, True])
def test_training_outlives_a_killed_worker(tmp_path, comes_back):
    epochs = 60
    with Cluster(tmp_path, "parameter-server", TASKS, SEED, epochs, 0.2) as cluster:
        cluster.wait_for_line(CHIEF, "cluster: epoch 5 ", 100)
        cluster.kill(WORKERS[1])
        if comes_back:
            time.sleep(1)
            cluster.start(WORKERS[1])
        assert cluster.wait(CHIEF, 100) == 0, cluster.tail(CHIEF)
    result = read_result(tmp_path)
    assert result["state"]["epoch"] == epochs
    losses = result["state"]["history"]["loss"]
    assert losses[-1] < losses[4]
