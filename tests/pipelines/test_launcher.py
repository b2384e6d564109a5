"""Reuse, resumption and failure of nodes, over a pipeline that adds numbers."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from idp_tf.errors import DataError, MissingDataError, WorkdirError
from pipelines import launcher
from pipelines.artifacts import Artifact
from pipelines.launcher import NodeResult, recover, run_nodes
from pipelines.record import ExecutionState, Record
from pipelines.root import locked
from tests.pipelines.small_pipeline import NUMBER, build, calls, die, write_numbers

Run = Callable[..., list[NodeResult]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_numbers(tmp_path)


@pytest.fixture
def run(folder: Path) -> Run:
    def run(**settings: Any) -> list[NodeResult]:
        return run_once(folder, **settings)

    return run


def run_once(folder: Path, **settings: Any) -> list[NodeResult]:
    root = folder / "root"
    pipeline = build(folder, **settings)
    with locked(root), Record(root) as record:
        recovered = recover(root, record)
        number = record.begin_run()
        return run_nodes(pipeline, root, record, number, recovered=recovered)


def total(results: list[NodeResult]) -> int:
    return int((results[-1].outputs["sum"].uri / NUMBER).read_text())


def test_outputs_lie_where_tfx_has_them(folder: Path, run: Run) -> None:
    result = run(plus=300)[-1]
    uri = result.outputs["sum"].uri
    assert uri.parent == folder / "root" / "Add" / "sum"
    assert (uri / NUMBER).read_text() == "321"
    assert (result.outputs["twice"].uri / NUMBER).read_text() == "642"
    assert not list((folder / "root").rglob(".partial-*"))
    assert not list((folder / "root" / ".work").rglob("begun"))


def test_nothing_is_done_twice(folder: Path, run: Run) -> None:
    first, second = run(), run()
    assert [node.state for node in first] == ["ran"] * 3
    assert [node.state for node in second] == ["reused"] * 3
    assert calls(folder) == 1
    assert second[-1].outputs["sum"] == first[-1].outputs["sum"]
    assert second[0].counters == {"rows read": 1}


def test_what_hangs_on_a_change_runs_and_says_why(folder: Path, run: Run) -> None:
    run()
    (folder / "b.txt").write_text("30")
    results = {node.node_id: node for node in run()}
    assert results["Source.a"].state == "reused"
    assert results["Source.b"].state == results["Add"].state == "ran"
    assert results["Source.b"].reason == "digest changed"
    assert results["Add"].reason == "Source.b made something else"
    assert total(list(results.values())) == 31


def test_a_source_that_says_the_same_stops_the_change(folder: Path, run: Run) -> None:
    """Fingerprints are of contents: what was written anew and is equal changes nothing below."""
    first = run()
    shutil_rmtree(first[0].outputs["number"].uri)
    results = run()
    assert [node.state for node in results] == ["ran", "reused", "reused"]
    assert results[0].reason == "what it had made is gone"


def shutil_rmtree(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def test_parameters_order_and_version_decide(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    assert run(plus=5)[-1].reason == "plus is 5, it was 0"
    assert run(plus=5, sources="ba")[-1].reason == "its numbers stand in another order"
    monkeypatch.setattr("tests.pipelines.small_pipeline.Add.version", 2)
    assert run(plus=5, sources="ba")[-1].reason == "the component's version is 2, it was 1"


def test_what_is_looked_up_is_seen_and_is_no_part_of_the_key(run: Run) -> None:
    first = run()[-1].outputs["sum"]
    assert first.properties["last"] is None
    assert run()[-1].state == "reused"
    second = run(plus=1)[-1].outputs["sum"]
    assert second.properties["last"] == first.id


def test_what_was_undone_outside_is_done_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where somebody has deleted what the Pusher had pushed."""
    made = run()[-1].outputs["sum"]

    def undone(self: object, parameters: object, outputs: Mapping[str, Artifact]) -> str:
        return "it is the first" if outputs["sum"] == made else ""

    monkeypatch.setattr("tests.pipelines.small_pipeline.Add.undone", undone)
    again = run()
    assert [node.state for node in again] == ["reused", "reused", "ran"]
    assert again[-1].reason == "it is the first"
    assert [node.state for node in run()] == ["reused"] * 3


def test_what_went_by_what_was_rolled_back_is_made_again(folder: Path, run: Run) -> None:
    first = run()[-1].outputs["sum"]
    second = run(plus=1)[-1].outputs["sum"]
    with Record(folder / "root") as record:
        record.set_rolled_back([first.fingerprint])
    again = run(plus=1)[-1]
    assert again.reason == "the last that it went by has been rolled back"
    assert again.outputs["sum"].properties["last"] == second.id
    assert run(plus=1)[-1].state == "reused"


def test_what_is_compared_falls_with_what_it_was_compared_with(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.pipelines.small_pipeline.Add.compared", frozenset({"last"}))
    run(plus=1)
    why = "another last has come in the place of the one that it went by"
    assert run(plus=1)[-1].reason == why
    assert run(plus=1)[-1].state == "reused"
    run(plus=2)
    assert run(plus=1)[-1].reason == why
    # Unless it is what is judged: one of its own inputs.
    source = run(plus=1)[0].outputs["number"]
    monkeypatch.setattr(Record, "latest", lambda *_, **__: source)
    assert run(plus=1)[-1].state == "reused"


def test_what_is_needed_and_was_removed_stops_the_run(run: Run) -> None:
    first = run(needed=True)[-1].outputs["sum"]
    shutil_rmtree(first.uri)
    with pytest.raises(
        MissingDataError, match="the last sum of Add that was accepted has been rem"
    ):
        run(needed=True)
    assert run(needed=False)[-1].reason == "what it had made is gone"


def test_a_failure_is_recorded_and_keeps_the_work(folder: Path, run: Run) -> None:
    with pytest.raises(DataError, match="no good"):
        run(error=DataError("no good"))
    assert list((folder / "root" / ".work").rglob("begun"))
    assert not list((folder / "root").rglob(".partial-*"))
    with Record(folder / "root", read_only=True) as record:
        *_, failed = record.executions(1)
        assert failed.state is ExecutionState.FAILED
        assert failed.properties["error"] == "no good"
    assert [node.state for node in run()] == ["reused", "reused", "ran"]


def test_a_full_disk_is_told_and_loses_nothing(folder: Path, run: Run) -> None:
    run()
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")
    with pytest.raises(WorkdirError, match=r"somewhere: Add cannot go on: the disk is full"):
        run(plus=1, error=full)
    assert run()[-1].state == "reused"
    assert total(run(plus=1)) == 22


def test_two_runs_at_once(folder: Path, run: Run) -> None:
    with locked(folder / "root"):
        said = rf"another run is at work here \(process {os.getpid()}, since 20"
        with pytest.raises(WorkdirError, match=said):
            run()
    assert total(run()) == 21


STEPS = ("component", "_write_journal", "_settle", "replace", "complete", "rmtree")


def killed_at(step: str, folder: Path) -> None:
    """Runs, and dies just before a step of the node Add, or within it."""

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            told = " ".join(map(str, (*arguments, *named.values())))
            # The journal, too, gets its name by a replacement.
            if "Add" in told and not (step == "replace" and ".work" in told):
                die()
            return original(*arguments, **named)

        return wrapper

    if step == "component":
        from tests.pipelines.small_pipeline import Add

        original = Add.execute

        def execute(self: Any, execution: Any) -> None:
            original(self, execution)
            die()

        Add.execute = execute  # type: ignore[method-assign]
    elif step == "replace":
        launcher.os.replace = dying(os.replace)  # type: ignore[assignment]
    elif step == "complete":
        Record.complete = dying(Record.complete)  # type: ignore[method-assign]
    elif step == "rmtree":
        launcher.shutil.rmtree = dying(launcher.shutil.rmtree)  # type: ignore[assignment]
    else:
        setattr(launcher, step, dying(getattr(launcher, step)))
    run_once(folder)


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_nothing_half_made_and_nothing_to_be_repeated(
    folder: Path, run: Run, step: str
) -> None:
    process = multiprocessing.get_context("spawn").Process(target=killed_at, args=(step, folder))
    process.start()
    process.join(60)
    assert process.exitcode == -9
    before = calls(folder)
    results = run()
    assert total(results) == 21
    assert [node.state for node in results[:2]] == ["reused", "reused"]
    finished = step not in ("component", "_write_journal")
    assert calls(folder) == before + (0 if finished else 1)
    assert results[-1].state in (("recovered", "reused") if finished else ("ran",))
    assert not list((folder / "root").rglob(".partial-*"))
    assert not list((folder / "root" / ".work").rglob("begun"))
    assert [node.state for node in run()] == ["reused"] * 3
    with Record(folder / "root", read_only=True) as record:
        assert not record.running()


def test_the_record_says_what_was_read_and_made(folder: Path, run: Run) -> None:
    results = run()
    with Record(folder / "root", read_only=True) as record:
        *_, added = record.executions(1)
        read = record.inputs(added.id)["numbers"]
        assert [artifact.producer for artifact in read] == ["Source.a", "Source.b"]
        made = record.outputs(added.id)
        assert made["sum"] == [results[-1].outputs["sum"]]
        assert added.properties["key"]["inputs"]["numbers"] == {
            artifact.producer: artifact.fingerprint for artifact in read
        }
        assert json.dumps(added.properties["key"])
