"""Pipelines that would not fit into memory, over made-up machines."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from idp_tf.errors import SettingsError
from pipelines import beam_memory
from pipelines.artifacts import Artifact, OutputArtifact
from pipelines.beam_memory import available_memory, check_memory
from pipelines.component import Component, Execution
from pipelines.components.bulk_inferrer import BulkInferrer
from pipelines.components.statistics_gen import StatisticsGen

MIB = 2**20


TWO: Final = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


@pytest.fixture
def gibibyte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beam_memory, "available_memory", lambda: 1024 * MIB)


@pytest.mark.usefixtures("gibibyte")
def test_what_fits_is_run_and_what_is_near_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_memory("shop", "the titles", 614 * MIB)
        assert caplog.messages == []
        check_memory("shop", "the titles", 615 * MIB)
    assert caplog.messages == [
        "shop: the titles need about 615 MiB of memory, and 1,024 MiB can be had"
    ]


@pytest.mark.usefixtures("gibibyte")
@pytest.mark.parametrize("beam_args", [(), TWO])
def test_what_does_not_fit_is_refused(beam_args: tuple[str, ...]) -> None:
    said = "(?s)need about 1,025 MiB .*1,024 MiB can be had.*spills"
    with pytest.raises(SettingsError, match=said):
        check_memory("shop", "the titles", 1025 * MIB, beam_args)


@pytest.mark.usefixtures("gibibyte")
def test_engines_that_spill_are_not_asked() -> None:
    check_memory("shop", "the titles", 10**15, ["--runner=PortableRunner"])


@pytest.mark.usefixtures("gibibyte")
@pytest.mark.parametrize(
    ("component", "inputs"),
    [
        (StatisticsGen(), {"examples": {"interactions": 10**7}, "items": {}}),
        (BulkInferrer(), {"items": {"items": 10**6}, "model": {}}),
    ],
)
def test_components_ask_before_they_read(
    component: Component[Any], inputs: dict[str, dict[str, int]], tmp_path: Path
) -> None:
    write_saved_model(tmp_path)
    artifacts = {
        key: [Artifact(component.inputs[key], tmp_path, key, {"domain": "shop", **told})]
        for key, told in inputs.items()
    }
    outputs = {key: OutputArtifact(kind, tmp_path) for key, kind in component.outputs.items()}
    execution = Execution(
        "Node.shop", artifacts, outputs, component.parameters(), tmp_path / "work", ()
    )
    with pytest.raises(SettingsError, match=r"(?s)Node\.shop.* need about .*spills"):
        component.execute(execution)


def write_saved_model(folder: Path) -> None:
    """What looks like an encoder and like examples, as long as nobody reads them."""
    for split in ("train", "eval", "all"):
        (folder / f"Split-{split}").mkdir()
        (folder / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz").touch()
    model = saved_model_pb2.SavedModel()
    signature = model.meta_graphs.add().signature_def["serving_default"]
    signature.inputs["examples"].name = "examples:0"
    for size in (-1, 8):
        signature.outputs["embedding"].tensor_shape.dim.add(size=size)
    (folder / "Format-Serving").mkdir()
    (folder / "Format-Serving" / "saved_model.pb").write_bytes(model.SerializeToString())


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
