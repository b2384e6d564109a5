"""How the cluster's processes are set: addresses, memory, and what happens when one is lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from idp_tf.errors import SettingsError

HOST: Final = "127.0.0.1"
"""Every process listens here, and is reached from this machine only."""
_FRAMEWORK_HEAP, _FRAMEWORK_DIRECT, _NETWORK, _OVERHEAD, _METASPACE = 64, 128, 128, 128, 192
_DIRECT: Final = 384
"""What lies between a TaskManager and its worker: gRPC sends a hundred messages, each an element
or a MB of them, before it looks whether the worker keeps up."""


@dataclass(frozen=True)
class ClusterSettings:
    """A cluster's size. Memory is in MiB; workers, which are Python processes, come on top.

    Args:
        task_managers: How many TaskManagers there are.
        slots: Tasks that one TaskManager runs at once. With ``parallelism`` slots left, a job
            goes on when a TaskManager is lost; with fewer it waits for one.
        parallelism: Tasks into which a step is divided.
        job_manager_heap: The JobManager's heap.
        job_server_heap: The heap of Beam's job server.
        task_heap: A TaskManager's heap beside 64 MiB of its own.
        managed: What a TaskManager sorts and groups in. What does not fit goes to the disk.
    """

    task_managers: int = 2
    slots: int = 2
    parallelism: int = 2
    job_manager_heap: int = 320
    job_server_heap: int = 256
    task_heap: int = 320
    managed: int = 256

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise SettingsError(f"must be at least 1, got {value}", where=name)
        if self.parallelism > self.task_managers * self.slots:
            raise SettingsError(
                f"{self.parallelism} tasks at once need as many slots, and {self.task_managers}"
                f" TaskManagers with {self.slots} have {self.task_managers * self.slots}",
                where="parallelism",
                remedy="raise slots, or lower parallelism",
            )

    def task_manager_options(self) -> list[str]:
        """The JVM's limits that go with ``write_configuration``'s memory settings."""
        direct = _FRAMEWORK_DIRECT + _DIRECT + _NETWORK
        return [
            f"-Xmx{_FRAMEWORK_HEAP + self.task_heap}m",
            f"-XX:MaxDirectMemorySize={direct}m",
            f"-XX:MaxMetaspaceSize={_METASPACE}m",
        ]


def write_configuration(
    folder: Path, scratch: Path, settings: ClusterSettings, rpc: int, rest: int
) -> None:
    """Writes ``flink-conf.yaml`` and ``log4j.properties``.

    A job whose TaskManager is lost starts again what was lost, up to ten times
    (``restart-strategy``; without checkpoints, which are for streams, Flink's own default would
    be to fail). Heartbeats tell within 10 s that one is gone.

    Args:
        folder: Where to write them.
        scratch: Where Flink may spill.
        settings: The cluster's size.
        rpc: The JobManager's port for TaskManagers.
        rest: Its port for clients.
    """
    values = {
        "jobmanager.rpc.address": HOST,
        "jobmanager.bind-host": HOST,
        "jobmanager.rpc.port": rpc,
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": rest,
        "rest.bind-port": rest,
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "taskmanager.numberOfTaskSlots": settings.slots,
        "taskmanager.load-balance.mode": "SLOTS",
        "taskmanager.cpu.cores": float(settings.slots),
        "taskmanager.memory.framework.heap.size": f"{_FRAMEWORK_HEAP}m",
        "taskmanager.memory.framework.off-heap.size": f"{_FRAMEWORK_DIRECT}m",
        "taskmanager.memory.task.heap.size": f"{settings.task_heap}m",
        "taskmanager.memory.task.off-heap.size": f"{_DIRECT}m",
        "taskmanager.memory.network.min": f"{_NETWORK}m",
        "taskmanager.memory.network.max": f"{_NETWORK}m",
        "taskmanager.memory.managed.size": f"{settings.managed}m",
        "taskmanager.memory.jvm-metaspace.size": f"{_METASPACE}m",
        "taskmanager.memory.jvm-overhead.min": f"{_OVERHEAD}m",
        "taskmanager.memory.jvm-overhead.max": f"{_OVERHEAD}m",
        "taskmanager.network.sort-shuffle.min-buffers": 64,  # 512 by default, for each exchange
        "parallelism.default": settings.parallelism,
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 10,
        "restart-strategy.fixed-delay.delay": "1 s",
        "heartbeat.interval": 2000,
        "heartbeat.timeout": 10000,
        "classloader.resolve-order": "parent-first",
        "io.tmp.dirs": scratch,
        "blob.storage.directory": scratch,
        "web.tmpdir": scratch,
    }
    lines = [f"{key}: {value}\n" for key, value in values.items()]
    (folder / "flink-conf.yaml").write_text("".join(lines), encoding="utf-8")
    (folder / "log4j.properties").write_text(_LOG4J, encoding="utf-8")


_LOG4J: Final = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c{1.} - %m%n
"""
