"""The record, and ml-metadata's tables in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from idp_tf.errors import WorkdirError
from pipelines.artifacts import EXAMPLES, Artifact
from pipelines.record import RECORD_FILE, ExecutionState, Record


def begun(record: Record, run: int, node: str, inputs: dict[str, list[Artifact]]) -> int:
    return record.begin_execution(
        run, node, "Kind", cache_key=f"key of {node}", key={"a": 1}, reason="new", inputs=inputs
    )


def test_lineage_comes_back(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        run = record.begin_run(pipeline="p")
        first = begun(record, run, "A", {})
        made = Artifact(EXAMPLES, tmp_path, "f", {"rows": 3}, producer="A")
        (artifact,) = record.complete(run, first, {"out": made}, {"rows": 3}).values()
        second = begun(record, run, "B", {"in": [artifact], "other": []})
        record.fail(second, "broken", {"rows": 1})
        record.end_run(run, "FAILED", error="broken")
    with Record(tmp_path, read_only=True) as record:
        (row,) = record.runs()
        assert row.properties["state"] == "FAILED"
        a, b = record.executions(run)
        assert (a.node_id, a.state, a.properties["counters"]) == (
            "A",
            ExecutionState.COMPLETE,
            {"rows": 3},
        )
        assert (b.state, b.properties["error"]) == (ExecutionState.FAILED, "broken")
        assert record.inputs(second) == {"in": [artifact]}
        assert record.outputs(first) == {"out": [artifact]}
        assert record.finished("A", "key of A") == (a, {"out": artifact})
        assert record.finished("A", "another") is None


def pushed(record: Record, folder: Path, name: str, accepted: int) -> Artifact:
    """A model, and a verdict on it."""
    run = record.begin_run()
    (folder / name).mkdir()
    trained = begun(record, run, "Trainer", {})
    model = Artifact(EXAMPLES, folder / name, name, producer="Trainer")
    (model,) = record.complete(run, trained, {"model": model}, {}).values()
    judged = begun(record, run, "Pusher", {"model": [model]})
    verdict = Artifact(EXAMPLES, folder / name, name, {"pushed": accepted}, producer="Pusher")
    record.complete(run, judged, {"verdict": verdict}, {})
    return model


def test_the_last_that_was_accepted(tmp_path: Path) -> None:
    query = ("Trainer", "model", ("Pusher", "verdict", "pushed"))
    with Record(tmp_path) as record:
        assert record.latest(*query) is None
        first = pushed(record, tmp_path, "first", 1)
        second = pushed(record, tmp_path, "second", 1)
        third = pushed(record, tmp_path, "third", 0)
        assert record.latest("Trainer", "model") == third
        assert record.latest(*query) == second
        record.set_rolled_back(["second"])
        assert record.latest(*query) == first
        record.set_rolled_back([])
        assert record.latest(*query) == second
        second.uri.rmdir()
        assert record.latest(*query) == first


def test_the_tables_are_ml_metadatas(tmp_path: Path) -> None:
    """As its client reads them: google/ml-metadata, schema version 10."""
    with Record(tmp_path) as record:
        pushed(record, tmp_path, "first", 1)
    with sqlite3.connect(tmp_path / RECORD_FILE) as database:
        assert database.execute("SELECT schema_version FROM MLMDEnv").fetchall() == [(10,)]
        kinds = dict(database.execute("SELECT name, type_kind FROM Type").fetchall())
        assert kinds == {"pipeline_run": 2, "Kind": 0, "Examples": 1}
        states = database.execute("SELECT DISTINCT last_known_state FROM Execution").fetchall()
        assert states == [(3,)]  # COMPLETE
        events = database.execute("SELECT type, count(*) FROM Event GROUP BY type").fetchall()
        assert events == [(3, 1), (4, 2)]  # INPUT and OUTPUT


def test_a_file_that_is_no_record(tmp_path: Path) -> None:
    (tmp_path / RECORD_FILE).write_text("not a database" * 100)
    with pytest.raises(WorkdirError, match="the record cannot be read: file is not a database"):
        Record(tmp_path)


def test_a_record_of_another_version(tmp_path: Path) -> None:
    with Record(tmp_path):
        pass
    with sqlite3.connect(tmp_path / RECORD_FILE) as database:
        database.execute("UPDATE MLMDEnv SET schema_version = 9")
    with pytest.raises(WorkdirError, match="its tables are of version 9, not 10"):
        Record(tmp_path)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(WorkdirError, match="nothing has been run here yet"):
        Record(tmp_path, read_only=True)
    assert not list(tmp_path.iterdir())
