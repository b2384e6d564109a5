"""Clusters as ``TF_CONFIG`` describes them, and the processes that serve in them."""

from __future__ import annotations

import json
import logging
import os
from typing import Any, Final

import tensorflow as tf

from idp_tf.errors import SettingsError

TASKS: Final = {
    "multi-worker": ("worker",),
    "parameter-server": ("chief", "worker", "ps"),
}
"""The strategies that ``TF_CONFIG`` describes, and the tasks that each must have."""
_EXAMPLE: Final = {
    "multi-worker": {"worker": ["host1:2222", "host2:2222"]},
    "parameter-server": {"chief": ["host1:2222"], "worker": ["host2:2222"], "ps": ["host3:2222"]},
}

_log = logging.getLogger(__name__)


def check_cluster(name: str, text: str | None) -> dict[str, Any]:
    """Reads ``TF_CONFIG`` and checks that a strategy can work with it.

    Args:
        name: ``multi-worker`` or ``parameter-server``.
        text: What the variable holds; None if it is not set.

    Raises:
        SettingsError: if it is missing, no such JSON, or lacks a task.
    """
    remedy = "set it to " + json.dumps(
        {"cluster": _EXAMPLE[name], "task": {"type": "worker", "index": 0}}
    )
    if not text:
        raise SettingsError(f"--strategy {name} needs TF_CONFIG", where="TF_CONFIG", remedy=remedy)
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        missing = [kind for kind in TASKS[name] if not cluster.get(kind)]
        _ = cluster[task["type"]][task["index"]]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise SettingsError(
            f"no cluster with a task of its own ({type(error).__name__}: {error})",
            where="TF_CONFIG",
            remedy=remedy,
        ) from error
    if missing:
        raise SettingsError(
            f"--strategy {name}: the cluster has no {', no '.join(missing)}",
            where="TF_CONFIG",
            remedy=remedy,
        )
    return config


def serve_task(name: str) -> None:
    """Serves a parameter-server training if this process is to; does not return then.

    Workers and parameter servers hold no loop of their own: the chief sends them their work,
    and they serve until they are stopped.

    Args:
        name: As for ``build_strategy``.

    Raises:
        SettingsError: as ``build_strategy``.
    """
    if name != "parameter-server":
        return
    task = check_cluster(name, os.environ.get("TF_CONFIG"))["task"]
    if task["type"] == "chief":
        return
    os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    cluster = resolver.cluster_spec()
    server = tf.distribute.Server(
        cluster,
        job_name=resolver.task_type,
        task_index=resolver.task_id,
        protocol="grpc",
        config=tf.compat.v1.ConfigProto(inter_op_parallelism_threads=threads(cluster)),
    )
    _log.info("%s %d serves at %s", resolver.task_type, resolver.task_id, server.target)
    server.join()


def threads(cluster: tf.train.ClusterSpec) -> int:
    """Threads between operations: one that waits for another process holds its thread.

    Args:
        cluster: All tasks.

    Example:
        >>> threads(tf.train.ClusterSpec({"worker": ["a:1"] * 1000}))
        1001
    """
    return max(cluster.num_tasks("worker") + 1, os.cpu_count() or 1)
