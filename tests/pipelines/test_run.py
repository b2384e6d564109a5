"""Runs that the machine disturbs: full disks, kills at any moment, another run over the root."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from idp_tf.errors import IdpError, WorkdirError
from pipelines import run as run_module
from pipelines.dag import Pipeline
from pipelines.launcher import NodeResult, recover, run_nodes
from pipelines.record import KILLED, ExecutionState, Record
from pipelines.root import locked
from pipelines.run import run_pipeline
from pipelines.settings import PipelineSettings
from tests.pipelines.small_pipeline import NUMBER, Add, Source, build, write_numbers

PAGE = 4096
ROOMS = range(0, 140, 4)
"""Pages that a full disk still has: an end in every file that a run of three nodes writes."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_numbers(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    size = f"size={2 * max(ROOMS) * PAGE}"
    command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("a small disk takes the right to mount one")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def settings(root: Path) -> PipelineSettings:
    return PipelineSettings(data=root, root=root, sources=("a",), target="b")


def compose_as(monkeypatch: pytest.MonkeyPatch, build: Callable[[], Pipeline]) -> None:
    monkeypatch.setattr(run_module, "compose", lambda settings: build())


def finish(pipeline: Pipeline, root: Path) -> list[NodeResult]:
    with locked(root), Record(root) as record:
        recovered = recover(root, record)
        return run_nodes(pipeline, root, record, record.begin_run(), recovered=recovered)


def total(results: list[NodeResult]) -> int:
    return int((results[-1].outputs["sum"].uri / NUMBER).read_text())


def left_over(root: Path) -> list[Path]:
    return [*root.rglob(".partial-*"), *(f for f in (root / ".work").rglob("*") if f.is_file())]


def test_a_disk_that_is_full_at_any_write(
    folder: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compose_as(monkeypatch, lambda: build(folder, error=NotPushed("the end")))
    ended = Counter[str]()
    for room in ROOMS:
        root, ballast = small_disk / f"root-{room}", small_disk / "ballast"
        free = os.statvfs(small_disk).f_bavail
        ballast.write_bytes(b"\0" * PAGE * (free - room))
        with pytest.raises(IdpError) as raised:
            run_pipeline(settings(root))
        ended["full" if "the disk is full" in str(raised.value) else "end"] += 1
        ballast.unlink()
        if "full" in str(raised.value):
            assert "run the same command again" in str(raised.value)
        assert total(finish(build(folder), root)) == 21
        assert not left_over(root)
        shutil.rmtree(root)
    assert ended["full"] >= 10 and ended["end"] >= 1, ended


class NotPushed(IdpError):
    """Ends a run of a pipeline that has no Pusher."""


def test_a_worker_that_tells_of_a_full_disk_in_its_own_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beam raises a RuntimeError with the worker's traceback as its text."""
    beams = RuntimeError("Traceback …\nOSError: [Errno 28] No space left on device: 'x.arrow'")
    compose_as(monkeypatch, lambda: build(folder, error=beams))
    with pytest.raises(WorkdirError, match="Add cannot go on: the disk is full"):
        run_pipeline(settings(folder / "root"))


def test_a_root_that_cannot_be_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compose_as(monkeypatch, lambda: build(folder))
    (folder / "root").write_text("a file")
    with pytest.raises(WorkdirError, match=r"root cannot go on: .*File exists"):
        run_pipeline(settings(folder / "root"))


def test_a_killed_run_is_not_said_to_be_running(folder: Path) -> None:
    root = folder / "root"
    with Record(root) as record:
        killed = record.begin_run()
    gone = root / "ExampleGen.attic" / "examples" / ".partial-7"
    gone.mkdir(parents=True)  # of a node that the pipeline has no more
    finish(build(folder), root)
    with Record(root, read_only=True) as record:
        (run,) = [run for run in record.runs() if run.id == killed]
    assert (run.properties["state"], run.properties["error"]) == ("FAILED", KILLED)
    assert not left_over(root)


def test_the_reason_is_what_differs_from_the_run_before(folder: Path) -> None:
    """Which may have reused an execution that is not the newest."""
    root = folder / "root"
    for plus in (1, 2, 1):
        finish(build(folder, plus=plus), root)
    assert finish(build(folder, plus=3), root)[-1].reason == "plus is 3, it was 1"


def test_work_that_nobody_will_go_on_with_is_removed(folder: Path) -> None:
    root = folder / "root"
    with pytest.raises(NotPushed):
        finish(build(folder, plus=1, error=NotPushed("broken")), root)
    assert left_over(root)
    finish(build(folder, plus=2), root)
    assert not left_over(root)


def run_slowly(folder: Path) -> None:
    def slowly(execute: Callable[..., None]) -> Callable[..., None]:
        def wrapper(self: object, execution: object) -> None:
            time.sleep(0.1)
            execute(self, execution)
            time.sleep(0.1)

        return wrapper

    for kind in (Source, Add):
        kind.execute = slowly(kind.execute)  # type: ignore[method-assign]
    finish(build(folder), folder / "root")


def start(folder: Path) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=run_slowly, args=(folder,))
    process.start()
    return process


def test_kills_at_random_moments(folder: Path) -> None:
    moments = random.Random(3)
    for _ in range(10):
        process = start(folder)
        process.join(moments.uniform(0, 0.35))
        process.kill()
        process.join()
    results = finish(build(folder), folder / "root")
    assert total(results) == 21 and not left_over(folder / "root")
    with Record(folder / "root", read_only=True) as record:
        finished = Counter(
            execution.node_id
            for run in record.runs()
            for execution in record.executions(run.id)
            if execution.state is ExecutionState.COMPLETE
        )
    assert finished == {"Source.a": 1, "Source.b": 1, "Add": 1}


def test_a_second_run_waits_for_the_first(folder: Path) -> None:
    root, began = folder / "root", time.monotonic()
    process = start(folder)
    while not (root / ".work").is_dir():
        assert time.monotonic() < began + 60
        time.sleep(0.01)
    with pytest.raises(WorkdirError, match=rf"at work here \(process {process.pid}, since "):
        finish(build(folder), root)
    with locked(root, wait=True):
        process.join(10)
        assert process.exitcode == 0
    assert {node.state for node in finish(build(folder), root)} == {"reused"}
