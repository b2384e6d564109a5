"""Where a training runs: one process, several devices, or several machines (tf.distribute).

A cluster is described by ``TF_CONFIG``, as everywhere in TensorFlow: JSON in the
environment of each process, the same ``cluster`` everywhere and the process's own
``task`` (docs/distributed.md). Every process runs the same command.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import tensorflow as tf

from idp_tf.cluster import TASKS, check_cluster, threads
from idp_tf.errors import ClusterError, SettingsError

STRATEGIES: Final = ("none", "mirrored", "multi-worker", "parameter-server")

# Only tables of item embeddings have as many rows: encoders' matrices are a few hundred wide.
_LEAST_TABLE_ROWS: Final = 1024

_log = logging.getLogger(__name__)


def build_strategy(name: str) -> tf.distribute.Strategy:
    """The strategy of this process; models made under its ``scope()`` train by it.

    Call it once in a process, before anything else is asked of TensorFlow.

    Args:
        name: One of ``STRATEGIES``. ``none`` is TensorFlow's default; ``mirrored`` takes all
            GPUs of this machine, or the CPU; the others need ``TF_CONFIG``.

    Raises:
        SettingsError: for an unknown name, a ``TF_CONFIG`` that is missing or lacks tasks, or
            workers of a ``parameter-server`` cluster with several GPUs each.

    Example:
        >>> build_strategy("none").num_replicas_in_sync
        1
    """
    if name not in STRATEGIES:
        raise SettingsError(
            f"unknown strategy {name!r}", where="strategy", remedy=f"known: {', '.join(STRATEGIES)}"
        )
    if name in TASKS:
        check_cluster(name, os.environ.get("TF_CONFIG"))
    if name == "none":
        return tf.distribute.get_strategy()
    strategy = _BUILDERS[name]()
    gpus = len(tf.config.list_physical_devices("GPU"))
    replicas = strategy.num_replicas_in_sync
    _log.info("strategy %s: %d replicas in step, %d GPUs here", name, replicas, gpus)
    return strategy


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes what a training makes; one process in a cluster does."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    resolver = strategy.cluster_resolver
    return resolver.task_type == "chief" or (
        resolver.task_type == "worker"
        and resolver.task_id == 0
        and "chief" not in resolver.cluster_spec().jobs
    )


def is_asynchronous(strategy: tf.distribute.Strategy) -> bool:
    """Whether workers train each at its own pace, under a coordinator."""
    return isinstance(strategy, tf.distribute.ParameterServerStrategy)


def agreed(strategy: tf.distribute.Strategy, compute: Callable[[], float]) -> float:
    """The chief's number, on every worker; all workers wait here for it.

    What decides how training goes on must be one number for all: a last bit that differs
    would have one worker stop while the others wait for it.

    Args:
        strategy: That of the training.
        compute: Gives the number; called by the chief alone.

    Raises:
        ClusterError: if another process is gone.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return compute()
    mine = tf.constant(compute() if is_chief(strategy) else 0.0, tf.float64)

    @tf.function
    def share() -> tf.Tensor:
        replica = tf.distribute.get_replica_context()
        # The chief is the first worker, and its first replica speaks.
        return tf.where(tf.equal(replica.replica_id_in_sync_group, 0), mine, 0.0)

    with together("the cluster"):
        return float(strategy.reduce("SUM", strategy.run(share), axis=None))


@contextmanager
def together(doing: str) -> Iterator[None]:
    """Names the process that is gone, where TensorFlow says what it was about to do.

    Args:
        doing: What all are at.

    Raises:
        ClusterError: if another process is gone.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        lines = [line.strip() for line in str(error.message).splitlines() if "/job:" in line]
        raise ClusterError(
            f"{doing} stopped, for another process is gone: "
            + min(lines, key=len, default=str(error.message)),
            where="TF_CONFIG",
            remedy="stop what is left, and start the same command in every process again: "
            "training goes on after the last whole epoch",
        ) from error


@contextmanager
def chiefs_folder(strategy: tf.distribute.Strategy, folder: Path) -> Iterator[Path]:
    """Where to write what all workers must write together: the folder, or a passing one.

    Saving adds up numbers over the workers, so that all must take part, but one writes.

    Args:
        strategy: That of the training.
        folder: The chief's folder; made if it is not there.
    """
    if is_chief(strategy):
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as passing:
        yield Path(passing)


def _build_parameter_server() -> tf.distribute.Strategy:
    os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    cluster = resolver.cluster_spec()
    tf.config.threading.set_inter_op_parallelism_threads(threads(cluster))
    cut = TablePartitioner(cluster.num_tasks("ps"))
    strategy = tf.distribute.ParameterServerStrategy(resolver, cut)
    if strategy.num_replicas_in_sync > 1:
        raise SettingsError(
            f"each worker has {strategy.num_replicas_in_sync} GPUs, and would use one",
            where="TF_CONFIG",
            remedy="start one worker for each GPU, with CUDA_VISIBLE_DEVICES set to that one",
        )
    # A strategy has one: whoever asks for a coordinator gets this.
    _Coordinator(strategy)
    return strategy


class _Coordinator(tf.distribute.coordinator.ClusterCoordinator):
    """A coordinator whose process can end while a worker is gone."""

    def __del__(self) -> None:
        """Leaves its threads to end with the process; else it would wait for the worker."""


class TablePartitioner(tf.distribute.experimental.partitioners.Partitioner):
    """Cuts the rows of large tables into one shard for each parameter server.

    Args:
        num_shards: Parameter servers.

    Example:
        >>> TablePartitioner(2)(tf.TensorShape([5000, 64]), tf.float32)
        [2, 1]
        >>> TablePartitioner(2)(tf.TensorShape([64, 64]), tf.float32)
        [1, 1]
    """

    def __init__(self, num_shards: int):
        self.num_shards = num_shards

    def __call__(self, shape: tf.TensorShape, dtype: tf.DType, axis: int = 0) -> list[int]:
        """Shards along each axis, for a variable of this shape."""
        partitions = [1] * shape.rank
        if shape[axis] >= _LEAST_TABLE_ROWS:
            partitions[axis] = self.num_shards
        return partitions


_BUILDERS: Final[dict[str, Callable[[], tf.distribute.Strategy]]] = {
    "mirrored": tf.distribute.MirroredStrategy,
    "multi-worker": tf.distribute.MultiWorkerMirroredStrategy,
    "parameter-server": _build_parameter_server,
}
