"""ExampleValidator: a domain's records against its schema and against the last run.

Reads ``statistics`` and ``schema``, and ExampleGen's ``manifest`` if it is wired; looks up
``previous_statistics``, those that it last accepted (the property ``accepted`` of its output), if
there are any. Writes ``anomalies``::

    Split-train/SchemaDiff.pb   Anomalies of tensorflow_metadata: users without held-out items
    Split-eval/SchemaDiff.pb    users, whole
    Split-all/SchemaDiff.pb     items
    anomalies.txt               for people, a line each: what, where, value, expected, what to do
    anomalies.json              the same for programs, and every distance that was measured

Checked are, by the schema: features that are missing or not expected, types, presence,
valency, domains, the shares of empty and duplicate titles, each ``skew_comparator`` (``eval``
against ``train``) and ``drift_comparator`` (against the last run), and the number of records
against the last run's. By the parameters: ids of logs that have no row, rows that repeat an
item, interactions that ExampleGen dropped, new and gone items, fewer interactions, and how
titles' words, languages, scripts and lengths, and the lengths of histories, have moved. Titles
whose words differ as much as two domains' do are an error: a title file of another domain.

An ``ERROR`` would make a wrong model, a ``WARNING`` is for a person to look at.

Raises:
    DataError: if there are anomalies of the severity that ``fail_on`` names. Nothing is handed
        on then; ``anomalies.txt`` and ``anomalies.json`` are left in the execution's work
        folder, and the error says where. Also if statistics are damaged.
    MissingDataError: if a file of an input is not there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from idp_tf.data.store import MANIFEST as MANIFEST_FILE
from idp_tf.errors import DataError, requires_extra
from idp_tf.workflow.artifacts import read_json
from pipelines.artifacts import ANOMALIES, MANIFEST, SCHEMA, STATISTICS
from pipelines.component import Component, Execution, Parameters
from pipelines.components.example_validator.findings import Finding, Findings, Seen
from pipelines.components.schema_gen.files import SCHEMA_FILE, read_schema
from pipelines.components.statistics_gen.files import SPLITS

_LOG = logging.getLogger("pipelines.ExampleValidator")
_NAMED = 3


class ExampleValidatorParameters(Parameters):
    """Thresholds of what a schema has no place for, and when to stop.

    Distances are Jensen-Shannon divergences in bits, from 0 (alike) to 1 (nothing in common).
    Between two of seven domains of Amazon's, titles' words are 0.21 (books, movies) to 0.68
    apart; a domain and itself with 30 % of new titles 0.007 to 0.025.
    """

    fail_on: Literal["error", "warning", "never"] = Field(
        "error", description="The least severity that stops the pipeline."
    )
    other_domain_drift: float = Field(
        0.2, gt=0, le=1, description="Distance of titles' words that means another domain's titles."
    )
    max_language_drift: float = Field(
        0.05, gt=0, le=1, description="Largest distance of titles' languages."
    )
    max_script_drift: float = Field(
        0.05, gt=0, le=1, description="Largest distance of titles' scripts, by letters."
    )
    max_length_drift: float = Field(
        0.1, gt=0, le=1, description="Largest distance of the lengths of titles and of histories."
    )
    max_unknown_items_share: float = Field(
        0.0, ge=0, le=1, description="Largest share of items of the logs that have no row."
    )
    max_dropped_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Largest share of interactions that ExampleGen dropped (unknown_items: drop).",
    )
    max_new_items_share: float = Field(
        0.5, ge=0, le=1, description="Largest share of items that the last run did not have."
    )
    max_gone_items_share: float = Field(
        0.2, ge=0, le=1, description="Largest share of the last run's items that are gone."
    )
    min_interactions_fraction: float = Field(
        0.5, ge=0, le=1, description="Least number of interactions, against the last run."
    )
    error_empty_share: float = Field(
        0.5, ge=0, le=1, description="Share of empty titles that is an error, not a warning."
    )
    max_html_entity_share: float = Field(
        0.01, ge=0, le=1, description="Largest share of titles with HTML entities."
    )


class ExampleValidator(Component[ExampleValidatorParameters]):
    """See the module."""

    name: ClassVar[str] = "ExampleValidator"
    inputs: ClassVar = {"statistics": STATISTICS, "schema": SCHEMA, "manifest": MANIFEST}
    optional: ClassVar = frozenset({"manifest"})
    resolved: ClassVar = {"previous_statistics": STATISTICS}
    outputs: ClassVar = {"anomalies": ANOMALIES}
    parameters: ClassVar = ExampleValidatorParameters

    def execute(self, execution: Execution[ExampleValidatorParameters]) -> None:
        """Checks, writes, and stops the pipeline if it must."""
        with requires_extra("pipelines", purpose="ExampleValidator"):
            from pipelines.components.example_validator.writing import count, write_anomalies

        now = Seen.load(execution.one("statistics").uri)
        schema = read_schema(execution.one("schema").uri / SCHEMA_FILE)
        before = _previous(execution, now)
        manifest = execution.maybe("manifest")
        told = read_json(manifest.uri / MANIFEST_FILE) if manifest else None
        findings = find_anomalies(now, before, schema, execution.parameters, told)
        output, domain = execution.outputs["anomalies"], now.domain["domain"]
        write_anomalies(output.uri, domain, findings, schema, before is not None)
        errors = count(findings.findings, "ERROR")
        warnings = count(findings.findings, "WARNING")
        execution.counters.update(errors=errors, warnings=warnings)
        output.properties.update(domain=domain, errors=errors, warnings=warnings)
        # What the next run is compared with is the last that had no error.
        output.properties["accepted"] = not errors
        for finding in findings.findings:
            level = logging.ERROR if finding.severity == "ERROR" else logging.WARNING
            _LOG.log(level, "%s: %s", execution.node_id, finding.line())
        _stop_if_bad(execution, domain, findings, before is not None)


def find_anomalies(
    now: Seen,
    before: Seen | None,
    schema: Any,
    given: ExampleValidatorParameters,
    manifest: Mapping[str, Any] | None = None,
) -> Findings:
    """Runs every check, errors first in what it gives.

    Args:
        now: The statistics to be judged.
        before: Those of the last run, or None.
        schema: The schema.
        given: The thresholds.
        manifest: What ExampleGen left out, if that is known.
    """
    from pipelines.components.example_validator import domain_checks, drift_checks
    from pipelines.components.example_validator.schema_checks import check_schema

    findings = Findings()
    for split in SPLITS:
        findings.findings += check_schema(now, schema, split)
        if before is not None:
            drift_checks.check_drift(findings, now, before, schema, split)
    drift_checks.check_skew(findings, now, schema)
    findings.findings += domain_checks.check_ids(now, given)
    if manifest is not None:
        findings.findings += domain_checks.check_reading(manifest, given)
    findings.findings += domain_checks.check_titles(now, schema, given)
    if before is not None:
        findings.findings += domain_checks.check_moves(now, before, given)
        domain_checks.measure_moves(findings, now, before, schema, given)
    findings.findings.sort(key=lambda found: found.severity != "ERROR")
    return findings


def _previous(execution: Execution[ExampleValidatorParameters], now: Seen) -> Seen | None:
    artifact = execution.maybe("previous_statistics")
    if artifact is None:
        return None
    before = Seen.load(artifact.uri)
    names = (now.domain["domain"], before.domain["domain"])
    if names[0] != names[1]:
        _LOG.warning(
            "%s: the last run's statistics are of %r, not of %r; nothing is compared",
            execution.node_id,
            names[1],
            names[0],
        )
        return None
    return before


def _stop_if_bad(
    execution: Execution[ExampleValidatorParameters],
    domain: str,
    findings: Findings,
    compared: bool,
) -> None:
    from pipelines.components.example_validator.writing import TEXT_FILE, write_readable

    stopping = _stopping(findings.findings, execution.parameters.fail_on)
    if not stopping:
        return
    folder = execution.work / "anomalies"
    folder.mkdir(parents=True, exist_ok=True)
    write_readable(folder, domain, findings, compared)
    shown = "".join(f"\n  {finding.line()}" for finding in stopping[:_NAMED])
    more = f"\n  and {len(stopping) - _NAMED} more" if len(stopping) > _NAMED else ""
    raise DataError(
        f"{len(stopping)} anomalies stop the pipeline:{shown}{more}",
        where=f"domain {domain}",
        remedy=f"read {folder / TEXT_FILE}; mend the data, or change the schema or fail_on",
    )


def _stopping(findings: list[Finding], fail_on: str) -> list[Finding]:
    if fail_on == "never":
        return []
    return [found for found in findings if fail_on == "warning" or found.severity == "ERROR"]
