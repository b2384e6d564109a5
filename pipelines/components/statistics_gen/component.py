"""StatisticsGen: statistics of a domain's users, items and titles.

Reads ``examples`` and ``items`` of one domain by tfx-bsl's TFXIO, as Arrow record batches and
without a schema, so that it sees what is there and not what should be. Writes ``statistics``::

    Split-train/FeatureStats.pb   users without the two held-out items: user_id, item_ids
    Split-eval/FeatureStats.pb    users, whole
    Split-all/FeatureStats.pb     items: item_id, internal_id, title
    domain.json                   users, items, interactions, popularity, ids, titles
    item_ids.kmv                  a sketch of the item ids, for the next run to compare with

``FeatureStats.pb`` is a ``DatasetFeatureStatisticsList`` of tensorflow_metadata, as TensorFlow
Data Validation writes it, so that its tools read it. What is exact and what is estimated, and
how closely, stands in ``domain.json`` under ``error_bounds``.

No worker holds a domain's records: it holds counts of lengths, sketches of a fixed size, and
the distinct ids, titles and words of the parts that it sums; see ``flow``. Workers leave their
results, a few MB, in the execution's folder, which they must reach.

Raises:
    MissingDataError: if an input has no files.
    DataError: if a file cannot be read, inputs are of two domains, or there is no user.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import Field

from idp_tf.errors import DataError, EmptyDomainError, MissingDataError, requires_extra
from pipelines.artifacts import EXAMPLES, ITEMS, STATISTICS, Artifact
from pipelines.component import Component, Execution, Parameters
from pipelines.components.statistics_gen.files import (
    DOMAIN_FILE,
    KNOWN_FILE,
    SPLITS,
    STATISTICS_FILE,
)

if TYPE_CHECKING:
    from pipelines.components.statistics_gen.flow import Gathered

_LOG = logging.getLogger("pipelines.StatisticsGen")


class StatisticsGenParameters(Parameters):
    """How finely work is divided, and how much is kept.

    Only what is kept changes the result; how work is divided does not.
    """

    batch_records: int = Field(4096, ge=1, description="Records in an Arrow batch.")
    parts: int = Field(64, ge=1, description="Parts in which distinct texts are counted.")
    sketch_buckets: int = Field(
        16_384, ge=64, description="Size of the sketches of distinct and of frequent texts."
    )
    rank_histogram: int = Field(1000, ge=1, description="Most frequent values kept of a feature.")
    vocabulary: int = Field(2000, ge=1, description="Most frequent words of titles kept.")


_BASE_BYTES: Final = 900 * 2**20
_BYTES_PER_INTERACTION: Final = 30
"""As ``idp-tf bench example-gen`` has measured them, from 1.4 to 14 million interactions."""


class StatisticsGen(Component[StatisticsGenParameters]):
    """See the module."""

    name: ClassVar[str] = "StatisticsGen"
    inputs: ClassVar = {"examples": EXAMPLES, "items": ITEMS}
    outputs: ClassVar = {"statistics": STATISTICS}
    parameters: ClassVar = StatisticsGenParameters

    def execute(self, execution: Execution[StatisticsGenParameters]) -> None:
        """Gathers, and writes the statistics."""
        examples, items = execution.one("examples"), execution.one("items")
        domain = _domain_of(examples, items)
        gathered = _gather(execution, examples, items)
        _check_counts(gathered, examples, items)
        output = execution.outputs["statistics"]
        described = _write(output.uri, domain, gathered, execution.parameters)
        figures = {name: described[name] for name in ("users", "items", "interactions")}
        names = json.dumps(SPLITS)
        output.properties.update(domain=domain, split_names=names, **figures)
        output.fingerprint = _fingerprint(output.uri)
        execution.counters.update(figures)
        execution.counters["rows read"] = sum(s.records for s in gathered.splits.values())
        execution.counters["titles without words"] = described["titles"]["empty"]
        _LOG.debug("%s: %s", execution.node_id, figures)

    def cache_inputs(self, parameters: StatisticsGenParameters) -> dict[str, Any]:
        """Without what only divides the work."""
        return parameters.model_dump(mode="json", exclude={"batch_records", "parts"})


def _domain_of(examples: Artifact, items: Artifact) -> str:
    found = (examples.properties.get("domain"), items.properties.get("domain"))
    if found[0] != found[1]:
        raise DataError(
            f"the examples are of the domain {found[0]!r}, the items of {found[1]!r}",
            where=items.uri,
            remedy="wire both from one ExampleGen",
        )
    return str(found[0])


def _gather(
    execution: Execution[StatisticsGenParameters], examples: Artifact, items: Artifact
) -> Gathered:
    for artifact, split in ((examples, "train"), (examples, "eval"), (items, "all")):
        if not any((artifact.uri / f"Split-{split}").glob("data_tfrecord-*")):
            raise MissingDataError(
                "there is no data_tfrecord-* file",
                where=artifact.uri / f"Split-{split}",
                remedy="run ExampleGen again",
            )
    with requires_extra("pipelines", purpose="StatisticsGen"):
        from pipelines.beam_memory import check_memory
        from pipelines.components.statistics_gen.flow import Sizes, gather
    interactions = examples.properties.get("interactions", 0)
    check_memory(
        execution.node_id,
        f"the distinct ids and the words of titles of {interactions:,} interactions",
        _BASE_BYTES + interactions * _BYTES_PER_INTERACTION,
        execution.beam_args,
    )
    given = execution.parameters
    sizes = Sizes(
        given.batch_records,
        given.parts,
        given.sketch_buckets,
        given.rank_histogram,
        given.vocabulary,
    )
    folder = execution.work / "gathered"
    shutil.rmtree(folder, ignore_errors=True)
    return gather(examples.uri, items.uri, folder, sizes, execution.beam_args)


def _check_counts(gathered: Gathered, examples: Artifact, items: Artifact) -> None:
    """A file that was cut off between two of its parts reads without an error, but short."""
    users = {split: gathered.splits[split].records for split in ("train", "eval")}
    if not users["eval"]:
        raise EmptyDomainError("there are no users", where=examples.uri)
    found = [(examples, "users", n) for n in users.values()]
    for artifact, what, number in (*found, (items, "items", gathered.splits["all"].records)):
        expected = artifact.properties.get(what, number)
        if number != expected:
            raise DataError(
                f"ExampleGen wrote {expected} {what}, {number} can be read",
                where=artifact.uri,
                remedy="a file is cut off or missing; run ExampleGen again",
            )


def _write(
    folder: Path, domain: str, gathered: Gathered, given: StatisticsGenParameters
) -> dict[str, Any]:
    from pipelines.components.statistics_gen.domain import describe_domain
    from pipelines.components.statistics_gen.protos import build_statistics

    for split in SPLITS:
        statistics = build_statistics(
            gathered.splits[split], _exact(gathered, split), given.sketch_buckets
        )
        file = folder / f"Split-{split}" / STATISTICS_FILE
        file.parent.mkdir()
        file.write_bytes(statistics.SerializeToString(deterministic=True))
    described = describe_domain(domain, gathered)
    text = json.dumps(described, indent=1, ensure_ascii=False) + "\n"
    (folder / DOMAIN_FILE).write_text(text, encoding="utf-8")
    known = gathered.summary.known
    (folder / KNOWN_FILE).write_bytes(b"" if known is None else known.Serialize())
    return described


def _exact(gathered: Gathered, split: str) -> dict[tuple[str, ...], Any]:
    from pipelines.components.statistics_gen.parts import ITEM_ID, ITEM_IDS
    from pipelines.components.statistics_gen.protos import Exact
    from pipelines.components.statistics_gen.titles import TITLE

    counts, top = gathered.summary.counts, gathered.summary.top
    if split != "all":
        if split not in top:
            return {}
        return {ITEM_IDS: Exact(sum(counts[split].values()), top[split])}
    found = {}
    if "rows" in top:
        found[ITEM_ID] = Exact(sum(counts["rows"].values()), top["rows"])
    if "titles" in top:
        found[TITLE] = Exact(counts["distinct titles"]["distinct"], top["titles"])
    return found


def _fingerprint(folder: Path) -> str:
    """Over all that is exact, and so does not depend on how the work was divided."""
    from tensorflow_metadata.proto.v0 import statistics_pb2

    from pipelines.components.statistics_gen.protos import exact_part

    digest = hashlib.sha256((folder / DOMAIN_FILE).read_bytes())
    digest.update((folder / KNOWN_FILE).read_bytes())
    for split in SPLITS:
        raw = (folder / f"Split-{split}" / STATISTICS_FILE).read_bytes()
        statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(raw)
        digest.update(exact_part(statistics).SerializeToString(deterministic=True))
    return digest.hexdigest()
