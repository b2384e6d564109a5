"""SchemaGen: the schema of a domain's users and items.

Reads ``statistics``; writes ``schema``::

    schema.pbtxt   a Schema of tensorflow_metadata, in text form

One schema serves both kinds of records, told apart by the environments ``users`` and
``items``. It holds each feature's type, presence (what has always been there is required),
valency and least whole number; how far the next run may stray from this one, in
``drift_comparator``, and ``eval`` from ``train``, in ``skew_comparator``; the least size
of the next run against this one, in ``dataset_constraints``; and for titles, which are a
natural-language feature, the largest shares of empty and of duplicate ones, as a
``google.protobuf.Struct`` in the annotation, since tensorflow_metadata has no field for them.

A ``curated`` schema wins over the inferred one and is kept as it is, byte for byte. To curate
one, copy the inferred file, change it, keep it under version control, and name it here.

Raises:
    MissingDataError: if the curated schema or the statistics are not there.
    DataError: if the curated schema is no schema.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from idp_tf.errors import MissingDataError
from pipelines.artifacts import SCHEMA, STATISTICS, digest_of
from pipelines.component import Component, Execution, Parameters
from pipelines.components.schema_gen.files import SCHEMA_FILE, read_schema
from pipelines.components.statistics_gen.files import read_statistics

_LOG = logging.getLogger("pipelines.SchemaGen")


class SchemaGenParameters(Parameters):
    """The curated schema, or the thresholds that are written into an inferred one."""

    curated: Path | None = Field(None, description="A schema to keep instead of inferring one.")
    item_drift: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Largest change of any item's share of all interactions since the last run.",
    )
    item_skew: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Largest difference between an item's shares in the splits train and eval.",
    )
    title_drift: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Largest Jensen-Shannon divergence (in bits) of titles' words from the last "
        "run's.",
    )
    min_examples_fraction: float = Field(
        0.5, ge=0, le=1, description="Least number of users and of items, against the last run."
    )
    max_empty_share: float = Field(0.05, ge=0, le=1, description="Largest share of empty titles.")
    max_duplicate_share: float = Field(
        0.2, ge=0, le=1, description="Largest share of titles that another item has too."
    )


class SchemaGen(Component[SchemaGenParameters]):
    """See the module."""

    name: ClassVar[str] = "SchemaGen"
    inputs: ClassVar = {"statistics": STATISTICS}
    outputs: ClassVar = {"schema": SCHEMA}
    parameters: ClassVar = SchemaGenParameters

    def check(self, parameters: SchemaGenParameters) -> None:
        """A curated schema must be there."""
        if parameters.curated is not None and not parameters.curated.is_file():
            raise MissingDataError(
                "there is no curated schema", where=parameters.curated, remedy="check the path"
            )

    def execute(self, execution: Execution[SchemaGenParameters]) -> None:
        """Keeps the curated schema, or infers one."""
        curated = execution.parameters.curated
        output = execution.outputs["schema"]
        file = output.uri / SCHEMA_FILE
        if curated is not None:
            read_schema(curated)
            file.write_bytes(curated.read_bytes())
        else:
            file.write_text(_inferred(execution), encoding="utf-8")
        domain = execution.one("statistics").properties.get("domain")
        output.properties.update(domain=domain, curated=curated is not None)
        execution.counters["features"] = len(read_schema(file).feature)
        how = "inferred" if curated is None else f"kept the curated {curated}"
        _LOG.debug("%s: %s", execution.node_id, how)

    def cache_inputs(self, parameters: SchemaGenParameters) -> dict[str, Any]:
        """The curated schema counts by its content, wherever it lies."""
        kept = parameters.model_dump(mode="json", exclude={"curated"})
        if parameters.curated is None:
            return kept
        self.check(parameters)
        return {"curated": digest_of(parameters.curated)}


def _inferred(execution: Execution[SchemaGenParameters]) -> str:
    from google.protobuf import text_format

    from pipelines.components.schema_gen.infer import infer_schema

    folder = execution.one("statistics").uri
    statistics = {split: read_statistics(folder, split) for split in ("eval", "all")}
    return text_format.MessageToString(infer_schema(statistics, execution.parameters))
