"""What a strategy asks for, how batches are shared out, and what the pieces promise."""

import json

import h5py
import numpy as np
import pytest
import tensorflow as tf
from tiny_world import invoke
from train_task import batches

from idp_tf import cli
from idp_tf.cluster import check_cluster
from idp_tf.errors import SettingsError
from idp_tf.layers import CountedDropout, ItemEmbedding
from idp_tf.strategy import STRATEGIES, TablePartitioner, agreed, build_strategy, is_chief

WORKERS = {"worker": ["a:1", "b:1"]}
SERVERS = {"chief": ["a:1"], "worker": ["b:1"], "ps": ["c:1"]}


def config(cluster, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


def test_the_command_offers_every_strategy():
    assert tuple(strategy.value for strategy in cli.Strategy) == STRATEGIES


def test_an_unknown_strategy_is_refused():
    with pytest.raises(SettingsError, match="unknown strategy 'tpu'.*\n.*none, mirrored"):
        build_strategy("tpu")


@pytest.mark.parametrize(
    ("strategy", "text", "said"),
    [
        ("multi-worker", None, "TF_CONFIG: --strategy multi-worker needs TF_CONFIG"),
        ("multi-worker", "{", "no cluster with a task of its own"),
        ("multi-worker", '{"cluster": {}}', "no cluster with a task of its own"),
        ("multi-worker", config(WORKERS, index=2), "no cluster with a task of its own"),
        ("multi-worker", config(WORKERS, kind="ps"), "no cluster with a task of its own"),
        ("parameter-server", config(WORKERS), "the cluster has no chief, no ps"),
        ("multi-worker", config({"chief": ["a:1"]}, "chief"), "the cluster has no worker"),
    ],
)
def test_a_cluster_that_lacks_something_is_refused_with_an_example(strategy, text, said):
    with pytest.raises(SettingsError, match=said) as error:
        check_cluster(strategy, text)
    assert '{"cluster": {' in str(error.value)


@pytest.mark.parametrize(
    ("strategy", "cluster"), [("multi-worker", WORKERS), ("parameter-server", SERVERS)]
)
def test_a_whole_cluster_is_taken(strategy, cluster):
    assert check_cluster(strategy, config(cluster))["cluster"] == cluster


def test_the_command_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    done = invoke("pretrain", "--workdir", tmp_path, "--strategy", "multi-worker")
    assert done.code == 2
    assert "needs TF_CONFIG" in done.err and '"task"' in done.err


def test_one_process_is_its_own_chief_and_agrees_with_itself():
    strategy = build_strategy("none")
    assert is_chief(strategy)
    assert agreed(strategy, lambda: 0.25) == 0.25


def test_only_tables_are_cut():
    cut = TablePartitioner(3)
    assert cut(tf.TensorShape([1024, 8]), tf.float32) == [3, 1]
    assert cut(tf.TensorShape([1023, 8]), tf.float32) == [1, 1]
    assert cut(tf.TensorShape([64]), tf.float32) == [1]


def test_two_replicas_meet_the_same_items():
    """What makes the cluster tests also ones of rows that two replicas have a gradient for."""
    shares = batches().dataset(replicas=range(2), num_replicas=2).as_numpy_iterator()
    first, second = next(shares), next(shares)
    assert set(first["item_ids"].ravel()) & set(second["item_ids"].ravel()) - {0}


@pytest.mark.parametrize("replicas", [2, 4, 20])
def test_replicas_share_each_batch_out(replicas):
    """Every row goes to one replica; more replicas than users leave some with padding."""
    stream = batches().dataset(replicas=range(replicas), num_replicas=replicas)
    shares = stream.as_numpy_iterator()
    for batch in batches().epoch(0):
        own = [next(shares) for _ in range(replicas)]
        for name, whole in batch.items():
            rows = np.concatenate([share[name] for share in own])
            assert all(len(share[name]) for share in own)
            rows = rows[(rows != 0).any(axis=1)]
            np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(whole, axis=0))


def test_a_worker_is_fed_its_own_replicas():
    every = batches().dataset(3, replicas=range(4), num_replicas=4).as_numpy_iterator()
    second = batches().dataset(3, replicas=range(2, 4), num_replicas=4).as_numpy_iterator()
    for _ in range(6):
        skipped, taken = [next(every) for _ in range(2)], [next(every) for _ in range(2)]
        assert len(skipped) == 2
        for share in taken:
            theirs = next(second)
            for name in share:
                np.testing.assert_array_equal(theirs[name], share[name])


def test_a_table_has_one_form_in_files(tmp_path):
    layer = ItemEmbedding(5, 2)
    layer.build(None)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        layer.save_own_variables(file.create_group("vars"))
        np.testing.assert_array_equal(file["vars/0"][()], layer.embeddings.numpy())
        other = ItemEmbedding(5, 2)
        other.build(None)
        other.load_own_variables(file["vars"])
        np.testing.assert_array_equal(other.embeddings.numpy(), layer.embeddings.numpy())
        narrow = ItemEmbedding(5, 3)
        narrow.build(None)
        with pytest.raises(ValueError, match=r"shape \(5, 2\), the layer's \(5, 3\)"):
            narrow.load_own_variables(file["vars"])


def test_dropout_in_one_process_is_the_count_alone():
    """The n-th mask of a layer is that of a layer whose count was set to n - 1."""
    layer, other = CountedDropout(0.5, seed=3), CountedDropout(0.5, seed=3)
    ones = tf.ones((4, 50))
    masks = [layer(ones, training=True).numpy() for _ in range(3)]
    other.calls.assign(2)
    np.testing.assert_array_equal(other(ones, training=True).numpy(), masks[2])
    assert (masks[0] != masks[1]).any()
