"""report.html below the root: one run, for people; readable with no network."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from idp_tf._version import __version__
from pipelines.artifacts import ANOMALIES, EVALUATION, Artifact
from pipelines.evaluation_table import METRICS, lines_of
from pipelines.graph import draw_graph
from pipelines.lineage import Step, below, gates_of, pipeline_of, settings_of, steps_of
from pipelines.outcome import counted, judged, verdict
from pipelines.reasons import changed_settings
from pipelines.record import Record, RunRow
from pipelines.root import logs_folder, work_folder
from pipelines.status import find_run, rows_of, when
from pipelines.versions import list_pushed

REPORT: Final = "report.html"
_ANOMALIES_FILE: Final = "anomalies.txt"


def write_report(root: Path, number: int | None = None) -> Path:
    """Writes the page of a run whole or not at all.

    Anomalies that stopped the run are kept beside its log, since their folder goes.

    Args:
        root: The pipeline's root.
        number: The run; the last one by default.

    Raises:
        WorkdirError: if there is no such run.
    """
    with Record(root, read_only=True) as record:
        run = find_run(record, number)
        before = [one for one in record.runs() if one.id < run.id][-1:]
        steps = steps_of(record, run.id)
    for step in steps:
        _keep_anomalies(root, run, step)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template(REPORT).render(
        **_about(root, run, before, steps),
        verdict=verdict(steps),
        judged=judged(steps),
        rows=[_row(root, step) for step in steps],
        evaluations=[
            {
                "place": below(root, a.uri),
                "tables": lines_of(_read_metrics(a)),
                "slices": _slices(a),
            }
            for a in _of(steps, EVALUATION)
        ],
        metric_names=METRICS,
        anomalies=list(_anomalies(root, run, steps)),
        version=__version__,
    )
    path = root / REPORT
    partial = path.with_name(f".{REPORT}.partial")
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, path)
    return path


def _about(
    root: Path, run: RunRow, before: Sequence[RunRow], steps: Sequence[Step]
) -> dict[str, Any]:
    """When and where a run was, with which settings, and its graph."""
    pipeline, settings = pipeline_of(run, steps), settings_of(run)
    ended = run.properties.get("ended")
    given = [json.loads(one.properties.get("settings", "{}")) for one in (*before, run)]
    destination = settings.destination if settings else None
    log = logs_folder(root) / f"run-{run.id}.jsonl"
    return {
        "run": {"id": run.id, "properties": {"error": "", **run.properties}},
        "began": when(run.began),
        "ended": when(ended) if ended else "",
        "seconds": f"{(ended or run.began) - run.began:,.0f}",
        "counted": counted(steps, len(pipeline.nodes) - len(steps) if pipeline else 0),
        "root": str(root.absolute()),
        "log": below(root, log) if log.is_file() else "",
        "destination": below(root, destination) if destination else "",
        "versions": [str(v) for v in reversed(list_pushed(destination))] if destination else [],
        "settings": json.dumps(given[-1], indent=1, ensure_ascii=False),
        "changed": changed_settings(*given) if before else [],
        "before": before[0].id if before else 0,
        # It escapes what it is given.
        "graph": Markup(draw_graph(steps, gates_of(pipeline, steps))),
    }


def _row(root: Path, step: Step) -> dict[str, Any]:
    seconds = step.execution.seconds
    return {
        "node": step.node_id,
        "state": step.state,
        "seconds": "" if step.state == "reused" or seconds is None else f"{seconds:.1f}",
        "figures": [f"{name}\u00a0{number:,}" for name, number in rows_of(step).items()],
        "why": step.execution.properties.get("reason", ""),
        "places": [below(root, artifact.uri) for artifact in step.artifacts],
    }


def _of(steps: Sequence[Step], kind: str) -> Iterator[Artifact]:
    return (a for step in steps for a in step.artifacts if a.type == kind)


def _read_metrics(artifact: Artifact) -> Any:
    return json.loads((artifact.uri / "metrics.json").read_text(encoding="utf-8"))


def _slices(artifact: Artifact) -> Markup:
    text = (artifact.uri / "slices.svg").read_text(encoding="utf-8")
    # Matplotlib escapes texts; its metadata name vocabularies by URLs, and a page needs none.
    return Markup(re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S))


def _keep_anomalies(root: Path, run: RunRow, step: Step) -> None:
    """Copies what stopped a node out of its work folder, if its own execution has left it."""
    key, kept = step.execution.properties.get("cache_key", ""), _kept(root, run, step)
    left = work_folder(root, step.node_id, key) / "anomalies" / _ANOMALIES_FILE
    if step.state != "failed" or kept.is_file() or not left.is_file():
        return
    if left.stat().st_mtime >= step.execution.began - 1:  # clocks of disks may be coarse
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(left, kept)


def _kept(root: Path, run: RunRow, step: Step) -> Path:
    return logs_folder(root) / f"run-{run.id}-{step.node_id}-{_ANOMALIES_FILE}"


def _anomalies(root: Path, run: RunRow, steps: Sequence[Step]) -> Iterator[dict[str, str]]:
    """What is wrong with the data: what stopped the run, and what did not."""
    for step in steps:
        found = [
            artifact.uri / _ANOMALIES_FILE
            for artifact in _of([step], ANOMALIES)
            if artifact.properties.get("errors") or artifact.properties.get("warnings")
        ]
        for file in (*found, _kept(root, run, step)):
            if file.is_file():
                text = file.read_text(encoding="utf-8")
                yield {"node": step.node_id, "text": text, "place": below(root, file)}
