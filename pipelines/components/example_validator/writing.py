"""Anomalies as files: protos for tools, JSON for programs, lines for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from tensorflow_metadata.proto.v0 import anomalies_pb2

from pipelines.components.example_validator.findings import Finding, Findings
from pipelines.components.statistics_gen.files import SPLITS

ANOMALIES_FILE: Final = "SchemaDiff.pb"
TEXT_FILE: Final = "anomalies.txt"
JSON_FILE: Final = "anomalies.json"


def write_anomalies(
    folder: Path, domain: str, findings: Findings, schema: Any, compared: bool
) -> None:
    """Writes all of an ExampleAnomalies artifact.

    Args:
        folder: Its folder.
        domain: The domain's name.
        findings: What the checks say.
        schema: The schema that was checked against.
        compared: Whether there was a last run to compare with.
    """
    for split in SPLITS:
        file = folder / f"Split-{split}" / ANOMALIES_FILE
        file.parent.mkdir()
        anomalies = _build_anomalies(split, findings, schema)
        file.write_bytes(anomalies.SerializeToString(deterministic=True))
    write_readable(folder, domain, findings, compared)


def write_readable(folder: Path, domain: str, findings: Findings, compared: bool) -> None:
    """Writes ``anomalies.txt`` and ``anomalies.json``."""
    lines = [_headline(domain, findings.findings, compared)]
    lines += [finding.line() for finding in findings.findings]
    (folder / TEXT_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    content = {
        "domain": domain,
        "compared_with_last_run": compared,
        "errors": count(findings.findings, "ERROR"),
        "warnings": count(findings.findings, "WARNING"),
        "anomalies": [asdict(finding) for finding in findings.findings],
        "measurements": [asdict(measured) for measured in findings.measurements],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (folder / JSON_FILE).write_text(text, encoding="utf-8")


def count(findings: Sequence[Finding], severity: str) -> int:
    """How many findings are of a severity."""
    return sum(finding.severity == severity for finding in findings)


def _headline(domain: str, findings: Sequence[Finding], compared: bool) -> str:
    errors, warnings = count(findings, "ERROR"), count(findings, "WARNING")
    found = f"{errors} errors, {warnings} warnings" if findings else "no anomalies"
    return f"{domain}: {found}" + ("" if compared else " (no last run to compare with)")


def _build_anomalies(split: str, findings: Findings, schema: Any) -> Any:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.baseline.CopyFrom(schema)
    anomalies.anomaly_name_format = anomalies_pb2.Anomalies.SERIALIZED_PATH
    for finding in (found for found in findings.findings if found.split == split):
        if finding.path:
            info = anomalies.anomaly_info[".".join(finding.path)]
            del info.path.step[:]
            info.path.step.extend(finding.path)
        else:
            info = anomalies.dataset_anomaly_info
        _add_reason(info, finding)
    _add_measurements(anomalies, split, findings)
    return anomalies


def _add_reason(info: Any, finding: Finding) -> None:
    """The worst severity counts; several reasons read as TensorFlow Data Validation puts them."""
    info.severity = max(info.severity, anomalies_pb2.AnomalyInfo.Severity.Value(finding.severity))
    said = f"{finding.value}, expected {finding.expected}. {finding.remedy}"
    info.reason.add(
        type=anomalies_pb2.AnomalyInfo.Type.Value(finding.reason),
        short_description=finding.what,
        description=f"{finding.what}: {said}",
    )
    info.description = " ".join(reason.description for reason in info.reason)
    several = len(info.reason) > 1
    info.short_description = "Multiple errors" if several else info.reason[0].short_description


def _add_measurements(anomalies: Any, split: str, findings: Findings) -> None:
    measurement = anomalies_pb2.DriftSkewInfo.Measurement
    by_path: dict[tuple[str, ...], Any] = {}
    for found in (found for found in findings.measurements if found.split == split):
        if found.path not in by_path:
            by_path[found.path] = anomalies.drift_skew_info.add()
            by_path[found.path].path.step.extend(found.path)
        info = by_path[found.path]
        kept = info.drift_measurements if found.kind == "drift" else info.skew_measurements
        kept.add(
            type=measurement.Type.Value(found.measure),
            value=found.value,
            threshold=found.threshold,
        )
