"""The record, as the launcher and the commands use it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from idp_tf.errors import WorkdirError
from pipelines.artifacts import Artifact
from pipelines.failures import cannot_go_on
from pipelines.record.rows import ExecutionRow, RunRow
from pipelines.record.schema import (
    VERSION,
    ArtifactState,
    EventType,
    ExecutionState,
    TypeKind,
    create_tables,
    schema_version,
)
from pipelines.record.tables import Tables, Value, milliseconds

RECORD_FILE: Final = "metadata.sqlite"
KILLED: Final = "its process was killed"
_RUN: Final = "pipeline_run"
_ROLLED_BACK: Final = "rolled_back"
_JSON: Final = ("key", "counters")
"""Properties of executions that are JSON."""


class Record:
    """The record below a root.

    Args:
        root: The pipeline's root; it is made if it is not there.
        read_only: Refuse a root without a record instead of making one.

    Raises:
        WorkdirError: if there is no record to read, or the file is none, or another version's.
    """

    def __init__(self, root: Path, *, read_only: bool = False):
        self.file = root / RECORD_FILE
        if read_only and not self.file.is_file():
            raise WorkdirError(
                "nothing has been run here yet",
                where=root,
                remedy="idp-tf pipeline run --config FILE, or give that run's --root",
            )
        root.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.file, isolation_level=None, timeout=30)
        try:
            database.execute("PRAGMA synchronous = FULL")
            version = schema_version(database)
            if version is None:
                create_tables(database)
        except sqlite3.OperationalError as error:  # of the machine: the file is as good as it was
            raise cannot_go_on(error, self.file) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error
        if version not in (None, VERSION):
            raise self._damaged(f"its tables are of version {version}, not {VERSION}")
        self._tables = Tables(database)

    def __enter__(self) -> Record:
        """Itself; it is closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self._tables.database.close()

    def begin_run(self, **properties: Value) -> int:
        """Notes that a run begins; its number."""
        tables = self._tables
        with tables.transaction():
            ((last,),) = tables.select("SELECT coalesce(max(id), 0) FROM Context")
            kind = tables.type_id(_RUN, TypeKind.CONTEXT)
            run = tables.insert("Context", kind, name=f"run-{last + 1}")
            tables.set_properties("Context", run, {"state": "RUNNING", **properties})
        return run

    def end_run(self, run: int, state: str, **properties: Value) -> None:
        """Notes how a run ended: ``COMPLETE`` or ``FAILED``."""
        with self._tables.transaction():
            ended = {"state": state, "ended": time.time(), **properties}
            self._tables.set_properties("Context", run, ended)
            self._tables.touch("Context", run)

    def fail_killed_runs(self) -> None:
        """Notes that runs which never ended came to nothing; under the root's lock only."""
        for run in self.runs():
            if run.properties["state"] == "RUNNING":
                self.end_run(run.id, "FAILED", error=KILLED)

    def runs(self) -> list[RunRow]:
        """All runs, the oldest first."""
        rows = self._tables.select("SELECT id, create_time_since_epoch FROM Context ORDER BY id")
        return [
            RunRow(run, began / 1000, self._tables.properties("Context", run))
            for run, began in rows
        ]

    def begin_execution(
        self,
        run: int,
        node_id: str,
        component: str,
        *,
        cache_key: str,
        key: Mapping[str, Any],
        reason: str,
        inputs: Mapping[str, Sequence[Artifact]],
    ) -> int:
        """Notes that a node is at work.

        Args:
            run: The run.
            node_id: The node.
            component: Its component's name.
            cache_key: The hash of ``key``.
            key: What decides what is made.
            reason: Why nothing could be reused.
            inputs: What it reads, resolved inputs too.

        Returns:
            The execution's number.
        """
        tables = self._tables
        with tables.transaction():
            execution = self._execution(run, node_id, component, ExecutionState.RUNNING)
            text = json.dumps(key, sort_keys=True)
            noted = {"cache_key": cache_key, "key": text, "reason": reason}
            tables.set_properties("Execution", execution, noted)
            for name, artifacts in inputs.items():
                for place, artifact in enumerate(artifacts):
                    tables.add_event(execution, artifact.id, EventType.INPUT, name, place)
        return execution

    def complete(
        self,
        run: int,
        execution: int,
        outputs: Mapping[str, Artifact],
        counters: Mapping[str, int],
    ) -> dict[str, Artifact]:
        """Notes an execution as finished, and its artifacts; these with their numbers."""
        with self._tables.transaction():
            numbered = {
                key: replace(artifact, id=self._add_artifact(run, execution, key, artifact))
                for key, artifact in outputs.items()
            }
            noted = {"counters": json.dumps(dict(counters))}
            self._end(execution, ExecutionState.COMPLETE, noted)
        return numbered

    def note_cached(self, run: int, old: ExecutionRow, outputs: Mapping[str, Artifact]) -> None:
        """Notes that a node's earlier execution serves this run as well."""
        tables = self._tables
        with tables.transaction():
            execution = self._execution(run, old.node_id, old.component, ExecutionState.CACHED)
            tables.set_properties("Execution", execution, {"of": old.id})
            for key, artifact in outputs.items():
                tables.add_event(execution, artifact.id, EventType.OUTPUT, key, 0)
                tables.link("Attribution", "artifact_id", run, artifact.id)

    def fail(self, execution: int, error: str, counters: Mapping[str, int] | None = None) -> None:
        """Notes that an execution came to nothing."""
        with self._tables.transaction():
            noted = {"error": error, "counters": json.dumps(dict(counters or {}))}
            self._end(execution, ExecutionState.FAILED, noted)

    def running(self) -> list[tuple[int, ExecutionRow]]:
        """Executions of which nothing says that they ended, each with its run.

        While nobody else holds the root's lock these are a killed process's.
        """
        rows = self._tables.select(
            "SELECT a.context_id, e.id FROM Execution e JOIN Association a"
            " ON a.execution_id = e.id WHERE e.last_known_state = ? ORDER BY e.id",
            (int(ExecutionState.RUNNING),),
        )
        return [(run, self.execution(execution)) for run, execution in rows]

    def execution(self, execution: int) -> ExecutionRow:
        """One execution."""
        ((component, state, began, ended),) = self._tables.select(
            "SELECT t.name, e.last_known_state, e.create_time_since_epoch,"
            " e.last_update_time_since_epoch FROM Execution e JOIN Type t ON t.id = e.type_id"
            " WHERE e.id = ?",
            (execution,),
        )
        properties = self._tables.properties("Execution", execution)
        return ExecutionRow(
            execution,
            properties.pop("node_id"),
            component,
            ExecutionState(state),
            began / 1000,
            None if state == ExecutionState.RUNNING else ended / 1000,
            {k: json.loads(v) if k in _JSON else v for k, v in properties.items()},
        )

    def executions(self, run: int) -> list[ExecutionRow]:
        """A run's executions, in the order in which they began."""
        rows = self._tables.select(
            "SELECT execution_id FROM Association WHERE context_id = ? ORDER BY execution_id",
            (run,),
        )
        return [self.execution(execution) for (execution,) in rows]

    def last_used(self, node_id: str) -> ExecutionRow | None:
        """The finished execution that a node's newest run has made, or has reused."""
        states = (ExecutionState.COMPLETE, ExecutionState.CACHED)
        row = next(self._executions_of(node_id, states), None)
        if row is None or row.state is ExecutionState.COMPLETE:
            return row
        return self.execution(row.properties["of"])

    def finished(
        self, node_id: str, cache_key: str
    ) -> tuple[ExecutionRow, dict[str, Artifact]] | None:
        """A node's newest finished execution of a cache key whose artifacts are all there."""
        for row in self._executions_of(node_id):
            if row.properties["cache_key"] == cache_key:
                outputs = {key: found for key, (found,) in self.outputs(row.id).items()}
                if outputs and all(artifact.uri.is_dir() for artifact in outputs.values()):
                    return row, outputs
        return None

    def inputs(self, execution: int) -> dict[str, list[Artifact]]:
        """What an execution read, by the inputs' keys."""
        return self._artifacts(execution, EventType.INPUT)

    def outputs(self, execution: int) -> dict[str, list[Artifact]]:
        """What an execution made, or one that it stands for had made, by the outputs' keys."""
        return self._artifacts(execution, EventType.OUTPUT)

    def latest(
        self,
        node_id: str,
        output: str,
        accepted_by: tuple[str, str, str] | None = None,
        *,
        removed_too: bool = False,
    ) -> Artifact | None:
        """The newest artifact of a node's output, see ``dag.Latest``.

        Args:
            node_id: The node.
            output: The key of its output.
            accepted_by: Who says which count.
            removed_too: Whether one counts that is on the disk no more.
        """
        for artifact in self._candidates(node_id, output, accepted_by):
            if removed_too or artifact.uri.is_dir():
                return artifact
        return None

    def is_rolled_back(self, artifact: Artifact) -> bool:
        """Whether ``set_rolled_back`` has marked an artifact."""
        return bool(self._tables.properties("Artifact", artifact.id).get(_ROLLED_BACK))

    def set_rolled_back(self, fingerprints: Iterable[str]) -> None:
        """Passes over artifacts of these fingerprints from now on, and over no others."""
        marked = set(fingerprints)
        rows = self._tables.select(
            "SELECT artifact_id, string_value FROM ArtifactProperty WHERE name = 'fingerprint'"
        )
        with self._tables.transaction():
            for artifact, fingerprint in rows:
                mark = {_ROLLED_BACK: int(fingerprint in marked)}
                self._tables.set_properties("Artifact", artifact, mark)

    def _candidates(
        self, node_id: str, output: str, accepted_by: tuple[str, str, str] | None
    ) -> Iterator[Artifact]:
        judge, verdict, accepted = accepted_by or (node_id, output, "")
        for row in self._executions_of(judge):
            (found,) = self.outputs(row.id)[verdict]
            if accepted_by is None:
                judged = [found]
            elif found.properties.get(accepted):
                judged = [artifact for read in self.inputs(row.id).values() for artifact in read]
            else:
                continue
            for artifact in judged:
                if artifact.producer == node_id and not self.is_rolled_back(artifact):
                    yield artifact

    def _executions_of(
        self, node_id: str, states: Iterable[ExecutionState] = (ExecutionState.COMPLETE,)
    ) -> Iterator[ExecutionRow]:
        marks = [int(state) for state in states]
        rows = self._tables.select(
            "SELECT e.id FROM Execution e JOIN ExecutionProperty p ON p.execution_id = e.id"
            " WHERE p.name = 'node_id' AND p.string_value = ? AND e.last_known_state IN"
            f" ({', '.join('?' * len(marks))}) ORDER BY e.id DESC",
            (node_id, *marks),
        )
        return (self.execution(execution) for (execution,) in rows)

    def _artifacts(self, execution: int, kind: EventType) -> dict[str, list[Artifact]]:
        rows = self._tables.select(
            "SELECT p.step_key, a.id, t.name, a.uri FROM Event v"
            " JOIN EventPath p ON p.event_id = v.id AND p.is_index_step = 0"
            " JOIN EventPath i ON i.event_id = v.id AND i.is_index_step = 1"
            " JOIN Artifact a ON a.id = v.artifact_id JOIN Type t ON t.id = a.type_id"
            " WHERE v.execution_id = ? AND v.type = ? ORDER BY v.id",
            (execution, int(kind)),
        )
        found: dict[str, list[Artifact]] = {}
        for key, number, name, uri in rows:
            noted = self._tables.properties("Artifact", number)
            properties = json.loads(noted["properties"])
            artifact = Artifact(
                name, Path(uri), noted["fingerprint"], properties, number, noted["producer"]
            )
            found.setdefault(key, []).append(artifact)
        return found

    def _add_artifact(self, run: int, execution: int, key: str, artifact: Artifact) -> int:
        tables = self._tables
        kind = tables.type_id(artifact.type, TypeKind.ARTIFACT)
        live = int(ArtifactState.LIVE)
        number = tables.insert("Artifact", kind, uri=str(artifact.uri), state=live)
        noted: dict[str, Value] = {
            "fingerprint": artifact.fingerprint,
            "producer": artifact.producer,
            "properties": json.dumps(dict(artifact.properties), sort_keys=True),
        }
        tables.set_properties("Artifact", number, noted)
        tables.add_event(execution, number, EventType.OUTPUT, key, 0)
        tables.link("Attribution", "artifact_id", run, number)
        return number

    def _execution(self, run: int, node_id: str, component: str, state: ExecutionState) -> int:
        type_id = self._tables.type_id(component, TypeKind.EXECUTION)
        execution = self._tables.insert("Execution", type_id, last_known_state=int(state))
        self._tables.set_properties("Execution", execution, {"node_id": node_id})
        self._tables.link("Association", "execution_id", run, execution)
        return execution

    def _end(self, execution: int, state: ExecutionState, properties: Mapping[str, Value]) -> None:
        self._tables.set_properties("Execution", execution, properties)
        self._tables.database.execute(
            "UPDATE Execution SET last_known_state = ?, last_update_time_since_epoch = ?"
            " WHERE id = ?",
            (int(state), milliseconds(), execution),
        )

    def _damaged(self, why: str) -> WorkdirError:
        return WorkdirError(
            f"the record cannot be read: {why}",
            where=self.file,
            remedy="choose another root, or move this file away; everything is then made anew",
        )
