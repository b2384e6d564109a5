"""Pipelines that would not fit into memory, over made-up machines."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from idp_tf.errors import SettingsError
from pipelines.beam_memory import available_memory, check_memory

MIB = 2**20


def test_what_fits_is_run_and_what_is_near_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_memory(100 * MIB, factor=5.0, base_bytes=100 * MIB, available=1000 * MIB)  # 600
        assert caplog.messages == []
        check_memory(100 * MIB, factor=6.0, base_bytes=100 * MIB, available=1000 * MIB)  # 700
    (said,) = caplog.messages
    assert "100 MiB of input need about 700 MiB" in said
    assert "1,000 MiB can be had" in said
    assert "Flink" in said


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingsError, match="need about 1,100 MiB.*1,000 MiB can be had"):
        check_memory(100 * MIB, factor=10.0, base_bytes=100 * MIB, available=1000 * MIB)
    two = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    with pytest.raises(SettingsError, match="--runner"):
        check_memory(100 * MIB, two, factor=11.0, available=1000 * MIB)


def test_engines_that_spill_are_not_asked() -> None:
    check_memory(10**15, ["--runner=PortableRunner"], factor=10.0, available=1)


def machine(folder: Path, *, available: int, cgroup: str) -> tuple[Path, Path]:
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "meminfo").write_text(
        f"MemTotal: 9999999 kB\nMemAvailable:   {available // 1024} kB\n"
    )
    (folder / "proc" / "self" / "cgroup").write_text(cgroup)
    (folder / "cgroup").mkdir()
    return folder / "proc", folder / "cgroup"


def limit(group: Path, names: tuple[str, str], most: str, used: int, stat: str) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / names[0]).write_text(f"{most}\n")
    (group / names[1]).write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 1\n{stat}\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
V2 = ("memory.max", "memory.current")


def test_the_machine_alone(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, available=3000 * MIB, cgroup="0::/\n")
    assert available_memory(proc, cgroups) == 3000 * MIB


def test_the_tightest_of_nested_cgroups_counts(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, available=3000 * MIB, cgroup="0::/pod/box\n")
    stat = f"inactive_file {100 * MIB}"
    limit(cgroups / "pod", V2, str(1000 * MIB), 700 * MIB, stat)  # leaves 300, and 100 of cache
    limit(cgroups / "pod" / "box", V2, "max", 600 * MIB, stat)
    assert available_memory(proc, cgroups) == 400 * MIB


def test_a_container_sees_its_own_cgroup_as_the_root(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, available=3000 * MIB, cgroup="0::/\n")
    limit(cgroups, V2, str(512 * MIB), 500 * MIB, "inactive_file 0")
    assert available_memory(proc, cgroups) == 12 * MIB


def test_cgroups_of_version_1(tmp_path: Path) -> None:
    text = "5:cpu,cpuacct:/box\n4:memory:/box\n1:name=systemd:/box\n"
    proc, cgroups = machine(tmp_path, available=3000 * MIB, cgroup=text)
    group = cgroups / "memory" / "box"
    limit(group, V1, str(800 * MIB), 900 * MIB, f"total_inactive_file {200 * MIB}")
    assert available_memory(proc, cgroups) == 100 * MIB
    limit(group, V1, str(800 * MIB), 900 * MIB, "total_inactive_file 0")
    assert available_memory(proc, cgroups) == 0


def test_this_machine() -> None:
    total = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal")
    )
    assert 0 < available_memory() <= total
