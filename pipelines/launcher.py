"""Runs the nodes of a pipeline, each once for what it is made of.

A node's outputs are made in folders beside their places. When its executor has returned, a journal
in its work folder says what is finished; then the folders get their names, then the record is
written. A process that is killed before the journal leaves nothing but the work folder, with which
the node goes on; after it, the next run completes what was finished and repeats nothing.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from idp_tf.errors import MissingDataError
from idp_tf.workflow.artifacts import read_json, write_json
from pipelines.artifacts import Artifact, OutputArtifact, digest_of
from pipelines.beam_results import remove_leftovers
from pipelines.cache_key import hash_of, key_of, reason_to_run
from pipelines.component import Execution
from pipelines.dag import Latest, Node, Pipeline
from pipelines.failures import told, words
from pipelines.record import KILLED, ExecutionRow, Record
from pipelines.root import (
    output_folder,
    partial_folder,
    remove_partials,
    work_folder,
)
from pipelines.run_log import BEGINS

_JOURNAL: Final = "finished.json"
_log = logging.getLogger("pipelines.launcher")


@dataclass(frozen=True)
class NodeResult:
    """What became of a node in a run.

    Args:
        node_id: The node.
        state: Whether it ``ran``, was ``reused``, or was ``recovered``: finished by a run that
            was killed before it could say so.
        reason: Why it ran; empty if it did not.
        seconds: How long it took.
        outputs: Its artifacts.
        counters: Rows and the like, as the executor counted them when it ran.
    """

    node_id: str
    state: Literal["ran", "reused", "recovered"]
    reason: str
    seconds: float
    outputs: Mapping[str, Artifact]
    counters: Mapping[str, int] = field(default_factory=dict)


Listener = Callable[[NodeResult], None]


def recover(root: Path, record: Record) -> set[int]:
    """Brings the root of a killed run in order; the executions that were finished all the same.

    Must be called under the root's lock.
    """
    finished: set[int] = set()
    for run, row in record.running():
        work = work_folder(root, row.node_id, row.properties["cache_key"])
        if _noted(work, row.id):
            _settle(root, work, run, row, record)
            finished.add(row.id)
        else:
            record.fail(row.id, KILLED)
    record.fail_killed_runs()
    for partial in remove_partials(root):
        _log.info("removed %s, which a killed run had left", partial)
    return finished


def run_node(
    node: Node,
    made: Mapping[tuple[str, str], Artifact],
    root: Path,
    record: Record,
    run: int,
    *,
    beam_args: Sequence[str] = (),
    recovered: frozenset[int] | set[int] = frozenset(),
) -> NodeResult:
    """Runs a node, or finds what it made of the same inputs before.

    Args:
        node: The node.
        made: The artifacts of this run so far, by node and output.
        root: The pipeline's root.
        record: Its record.
        run: The run's number.
        beam_args: Options for Beam.
        recovered: What ``recover`` returned.

    Raises:
        IdpError: whatever the executor raised; the record has it, and the work folder stays.
    """
    began = time.monotonic()
    inputs = {
        key: [made[channel.node, channel.output] for channel in channels]
        for key, channels in node.inputs.items()
    }
    key = key_of(node, inputs)
    cache_key = hash_of(key)
    found = record.finished(node.id, cache_key)
    undone = ""
    if found:
        row, outputs = found
        undone = node.component.undone(node.parameters, outputs)
        undone = undone or _outdated(node, record.inputs(row.id), inputs, record)
    if found and not undone:
        record.note_cached(run, row, outputs)
        # Its process may have been killed when all but this was done.
        shutil.rmtree(work_folder(root, node.id, cache_key), ignore_errors=True)
        state: Literal["reused", "recovered"] = "recovered" if row.id in recovered else "reused"
        counters = row.properties.get("counters", {})
        return NodeResult(node.id, state, "", time.monotonic() - began, outputs, counters)
    reason = undone or reason_to_run(key, record.last_used(node.id))
    outputs, counters = _run(
        node,
        {**inputs, **_resolved(node, record)},
        root,
        record,
        run,
        (cache_key, key, reason),
        beam_args,
    )
    return NodeResult(node.id, "ran", reason, time.monotonic() - began, outputs, counters)


def run_nodes(
    pipeline: Pipeline,
    root: Path,
    record: Record,
    run: int,
    *,
    beam_args: Sequence[str] = (),
    recovered: frozenset[int] | set[int] = frozenset(),
    begin: Callable[[str], None] = lambda node_id: None,
    tell: Listener = lambda result: None,
) -> list[NodeResult]:
    """Runs all nodes in their order; the first that fails ends it.

    Args:
        pipeline: The pipeline.
        root: Its root.
        record: Its record.
        run: The run's number.
        beam_args: Options for Beam.
        recovered: What ``recover`` returned.
        begin: Called with a node's id before it.
        tell: Called after each node.

    Raises:
        IdpError: whatever an executor raised.
    """
    made: dict[tuple[str, str], Artifact] = {}
    results: list[NodeResult] = []
    for node in pipeline:
        begin(node.id)
        result = run_node(node, made, root, record, run, beam_args=beam_args, recovered=recovered)
        made |= {(node.id, output): artifact for output, artifact in result.outputs.items()}
        results.append(result)
        tell(result)
    return results


def _resolved(node: Node, record: Record) -> dict[str, list[Artifact]]:
    """What the record has for a node's resolved inputs; nothing for those that it lacks."""
    found = {key: _look_up(query, record) for key, query in node.resolved.items()}
    return {key: [artifact] for key, artifact in found.items() if artifact is not None}


def _look_up(query: Latest, record: Record) -> Artifact | None:
    found = record.latest(query.node, query.output, query.accepted_by, removed_too=query.needed)
    if found is not None and not found.uri.is_dir():
        raise MissingDataError(
            f"the last {query.output} of {query.node} that was accepted has been removed",
            where=found.uri,
            remedy="put it back; of a model that was pushed, the folder of its version is what"
            f" belongs in {found.uri / 'Format-Serving'}",
        )
    return found


def _outdated(
    node: Node,
    then: Mapping[str, Sequence[Artifact]],
    inputs: Mapping[str, Sequence[Artifact]],
    record: Record,
) -> str:
    """Why what an earlier execution had looked up does not hold any more; "" if it does.

    Args:
        node: The node.
        then: All that the execution read.
        inputs: What the node reads now.
        record: The record.
    """
    own = {artifact.fingerprint for artifacts in inputs.values() for artifact in artifacts}
    for key, query in node.resolved.items():
        before = then.get(key, ())
        if any(record.is_rolled_back(artifact) for artifact in before):
            return f"the {key} that it went by has been rolled back"
        if key in node.component.compared:
            now = _look_up(query, record)
            if now and now.fingerprint not in own | {artifact.fingerprint for artifact in before}:
                return f"another {key} has come in the place of the one that it went by"
    return ""


def _run(
    node: Node,
    inputs: Mapping[str, Sequence[Artifact]],
    root: Path,
    record: Record,
    run: int,
    key: tuple[str, dict[str, Any], str],
    beam_args: Sequence[str],
) -> tuple[dict[str, Artifact], dict[str, int]]:
    cache_key, made_of, reason = key
    execution_id = record.begin_execution(
        run,
        node.id,
        node.component.name,
        cache_key=cache_key,
        key=made_of,
        reason=reason,
        inputs=inputs,
    )
    _log.info("%s: begins; %s", node.id, reason, extra={BEGINS: True})
    work = work_folder(root, node.id, cache_key)
    execution: Execution[Any] = Execution(
        node.id, inputs, _outputs(node, root, execution_id), node.parameters, work, beam_args
    )
    try:
        _make_folders(execution)
        node.component.execute(execution)
        _write_journal(work, execution_id, execution)
    except BaseException as error:
        failure = told(error, node.id)
        _give_up(record, execution_id, execution, words(failure or error))
        if failure is None:
            raise
        raise failure from error
    outputs = _settle(root, work, run, record.execution(execution_id), record)
    return outputs, execution.counters


def _outputs(node: Node, root: Path, execution: int) -> dict[str, OutputArtifact]:
    return {
        output: OutputArtifact(
            kind, partial_folder(output_folder(root, node.id, output, execution))
        )
        for output, kind in node.component.outputs.items()
    }


def _make_folders(execution: Execution[Any]) -> None:
    execution.work.mkdir(parents=True, exist_ok=True)
    for output in execution.outputs.values():
        output.uri.mkdir(parents=True)


def _give_up(record: Record, number: int, execution: Execution[Any], why: str) -> None:
    """Takes half-made outputs away, and notes a failure; the work folder stays."""
    for output in execution.outputs.values():  # first: a full disk has no room for the note
        shutil.rmtree(output.uri, ignore_errors=True)
    try:
        record.fail(number, why, execution.counters)
    except sqlite3.Error as error:
        # What went wrong at first is what has to be told; the next run notes this one as killed.
        _log.warning("the record could not be written: %s", error)


def _write_journal(work: Path, number: int, execution: Execution[Any]) -> None:
    """Says what is finished; from here on nothing of it is made again."""
    outputs = {}
    for key, output in execution.outputs.items():
        remove_leftovers(output.uri)
        fingerprint = output.fingerprint or digest_of(output.uri)
        outputs[key] = {
            **asdict(output),
            "uri": str(output.uri),
            "fingerprint": fingerprint,
        }
        _sync_whole(output.uri)
    content = {"execution": number, "outputs": outputs, "counters": execution.counters}
    write_json(work / _JOURNAL, content)
    _sync(work)


def _noted(work: Path, execution: int) -> bool:
    """Whether a journal says that an execution is finished."""
    journal = work / _JOURNAL
    return journal.is_file() and read_json(journal)["execution"] == execution


def _settle(
    root: Path, work: Path, run: int, row: ExecutionRow, record: Record
) -> dict[str, Artifact]:
    """Gives finished outputs their names, records them, and removes the work folder."""
    journal = read_json(work / _JOURNAL)
    outputs: dict[str, Artifact] = {}
    for key, noted in journal["outputs"].items():
        final = output_folder(root, row.node_id, key, row.id)
        if not final.exists():  # else it was killed after this step
            os.replace(noted["uri"], final)
            _sync(final.parent)
        outputs[key] = Artifact(
            noted["type"],
            final,
            noted["fingerprint"],
            noted["properties"],
            producer=row.node_id,
        )
    numbered = record.complete(run, row.id, outputs, journal["counters"])
    # With those of other keys, which were given up: their inputs are not likely to come again.
    shutil.rmtree(work.parent, ignore_errors=True)
    return numbered


def _sync_whole(folder: Path) -> None:
    """Has a folder and all that it holds survive a loss of power."""
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _sync(path: Path) -> None:
    """Has a file, or what a folder lists, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
