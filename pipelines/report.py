"""report.html below the root: one run, for people; readable with no network."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from idp_tf._version import __version__
from pipelines.artifacts import ANOMALIES, BLESSING, EVALUATION, INFRA_BLESSING, Artifact
from pipelines.graph import draw_graph
from pipelines.lineage import Step, steps_of
from pipelines.record import Record
from pipelines.status import find_run, rows_of, verdicts, when

REPORT: Final = "report.html"
_METRICS: Final = ("HR@5", "HR@10", "NDCG@5", "NDCG@10", "MRR")
_MODELS: Final = ("model", "control", "baseline")


def write_report(root: Path, number: int | None = None) -> Path:
    """Writes the page of a run whole or not at all.

    Args:
        root: The pipeline's root.
        number: The run; the last one by default.

    Raises:
        WorkdirError: if there is no such run.
    """
    with Record(root, read_only=True) as record:
        run = find_run(record, number)
        steps = steps_of(record, run.id)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template(REPORT).render(
        run={"id": run.id, "properties": {"error": "", **run.properties}},
        began=when(run.began),
        ran=sum(step.state == "ran" for step in steps),
        steps=steps,
        verdicts=verdicts(steps),
        rows=[_row(step) for step in steps],
        graph=Markup(draw_graph(steps)),  # it escapes what it is given
        metrics=[row for artifact in _of(steps, EVALUATION) for row in _metrics(artifact)],
        metric_names=_METRICS,
        slices=Markup("".join(_slices(steps))),  # Matplotlib escapes texts
        checks=[
            check
            for artifact in _of(steps, BLESSING, INFRA_BLESSING)
            for check in _checks(artifact)
        ],
        anomalies=list(_anomalies(steps)),
        version=__version__,
    )
    path = root / REPORT
    partial = path.with_name(f".{REPORT}.partial")
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, path)
    return path


def _row(step: Step) -> dict[str, str]:
    seconds = step.execution.seconds
    made = [a for found in step.outputs.values() for a in found]
    return {
        "node": step.node_id,
        "state": step.state,
        "seconds": "" if step.state == "reused" or seconds is None else f"{seconds:.1f}",
        "rows": ", ".join(rows_of(step)),
        "why": step.execution.properties.get("reason", ""),
        "artifacts": ", ".join(f"{a.type} {a.id}" for a in made),
    }


def _of(steps: Sequence[Step], *kinds: str) -> Iterator[Artifact]:
    for step in steps:
        for artifacts in step.outputs.values():
            yield from (artifact for artifact in artifacts if artifact.type in kinds)


def _metrics(artifact: Artifact) -> Iterator[dict[str, Any]]:
    content = json.loads((artifact.uri / "metrics.json").read_text(encoding="utf-8"))
    for model in _MODELS:
        for protocol, found in ((content.get(model) or {}).get("overall") or {}).items():
            yield {
                "model": model,
                "protocol": protocol,
                "users": f"{found['users']:,}",
                "metrics": [f"{found['metrics'][name]:.4f}" for name in _METRICS],
            }


def _slices(steps: Sequence[Step]) -> Iterator[str]:
    for artifact in _of(steps, EVALUATION):
        text = (artifact.uri / "slices.svg").read_text(encoding="utf-8")
        # Matplotlib's metadata name vocabularies by URLs, and a page needs none.
        yield re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


def _checks(artifact: Artifact) -> list[dict[str, Any]]:
    content = json.loads((artifact.uri / "reasons.json").read_text(encoding="utf-8"))
    checks: list[dict[str, Any]] = content["checks"]
    return checks


def _anomalies(steps: Sequence[Step]) -> Iterator[dict[str, str]]:
    for artifact in _of(steps, ANOMALIES):
        text = (artifact.uri / "anomalies.txt").read_text(encoding="utf-8")
        if artifact.properties.get("errors") or artifact.properties.get("warnings"):
            yield {"node": artifact.producer, "text": text}
