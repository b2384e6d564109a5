"""Whether a pipeline fits into memory, asked before it starts.

Beam's own runner keeps what passes between two stages in this process, and nothing spills: a
pipeline that is too large for it would be killed by the system after hours.
"""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from idp_tf.errors import SettingsError
from pipelines.beam_options import build_options, runs_in_memory

WARN_ABOVE: Final = 0.6
"""The share of the free memory above which a pipeline is run, and told of."""
SPILLS: Final = "run it on an engine that spills to disk (docs/pipelines-runners.md)"

_LOG = logging.getLogger("pipelines.beam_memory")


def check_memory(
    where: str, what: str, needed: int, beam_args: Sequence[str] = (), *, remedy: str = SPILLS
) -> None:
    """Refuses what Beam's own runner could not hold, and tells of what it could hardly.

    Other runners are not asked: what passes between their stages is spilled, and their workers
    have memory of their own.

    Args:
        where: The domain or the node.
        what: What is held, for the message.
        needed: Bytes at the peak, as the component has measured them.
        beam_args: Beam's options, of which the runner counts.
        remedy: What else can be done.

    Raises:
        SettingsError: if more is needed than can be had.
    """
    if not runs_in_memory(build_options(beam_args)):
        return
    free = available_memory()
    said = f"{what} need about {needed >> 20:,} MiB of memory, and {free >> 20:,} MiB can be had"
    if needed > free:
        raise SettingsError(said, where=where, remedy=remedy)
    if needed > WARN_ABOVE * free:
        _LOG.warning("%s: %s", where, said)


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may still take: what the machine, cgroups and ulimit leave.

    Args:
        proc: Where procfs is mounted.
        cgroups: Where cgroups are mounted, version 2 or 1.
    """
    machine = _kibibytes(proc / "meminfo", "MemAvailable")
    return max(0, min([machine, *_cgroup_rooms(proc, cgroups), *_ulimit_room(proc)]))


def _kibibytes(file: Path, field: str) -> int:
    for line in file.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise SettingsError(f"no {field}", where=file, remedy="run it on Linux")


def _ulimit_room(proc: Path) -> list[int]:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return []
    return [soft - _kibibytes(proc / "self" / "status", "VmSize")]


def _cgroup_rooms(proc: Path, cgroups: Path) -> Iterator[int]:
    """What each cgroup from this process' own up to the root leaves, if it limits at all."""
    for line in (proc / "self" / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, limit, usage, cache = cgroups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit, usage = cgroups / "memory", "memory.limit_in_bytes", _V1_USAGE
            cache = "total_inactive_file"
        else:
            continue
        own = root / path.lstrip("/")
        for group in (own, *own.parents):
            if not group.is_relative_to(root):
                break
            yield from _room(group, limit, usage, cache)


_V1_USAGE: Final = "memory.usage_in_bytes"


def _room(group: Path, limit: str, usage: str, cache: str) -> list[int]:
    """Limit less usage; pages of files that nobody uses are given up, and do not count."""
    try:
        most = (group / limit).read_text().strip()
        if most == "max":
            return []
        used = int((group / usage).read_text())
        stat = (group / "memory.stat").read_text().split()
    except FileNotFoundError:  # the root has none, nor has a container's view of its parents
        return []
    reclaimable = dict(zip(stat[::2], stat[1::2], strict=False)).get(cache, "0")
    return [int(most) - used + int(reclaimable)]
