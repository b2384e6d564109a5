"""Artifacts: what components hand to one another, each a folder with a type and a fingerprint.

Names of types, outputs and files are TFX's where TFX has them, so that its tools find what they
look for::

    <root>/<component>/<output>/<execution id>/

An artifact appears whole or not at all: an executor fills a folder beside it, and the launcher
gives that folder its name when the executor has returned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from idp_tf.errors import WorkdirError

EXAMPLES: Final = "Examples"
"""Users as SequenceExamples: ``Split-train/`` and ``Split-eval/``."""
ITEMS: Final = "Items"
"""Items as Examples: ``Split-all/``, each with its id, internal id and title."""
MANIFEST: Final = "DomainManifest"
"""``manifest.json`` as ``idp_tf.data.prepare`` writes it, and ``quarantine.jsonl``."""
STATISTICS: Final = "ExampleStatistics"
"""``Split-<name>/FeatureStats.pb``, and ``domain.json`` with what is no feature's."""
SCHEMA: Final = "Schema"
"""``schema.pbtxt``."""
ANOMALIES: Final = "ExampleAnomalies"
"""``Split-<name>/SchemaDiff.pb``, and ``anomalies.txt`` for people."""
MODEL: Final = "Model"
"""``Format-Serving/``, a SavedModel; what idp_tf loads lies in its ``assets.extra/idp_tf/``."""
INFERENCE_RESULT: Final = "InferenceResult"
"""Vectors of items as Examples: ``vectors_tfrecord-00000-of-00001.gz`` and so on."""
INDEX: Final = "ItemIndex"
"""Vectors of all source items, ready to be asked."""
EMBEDDINGS: Final = "GeneratedEmbeddings"
"""``embeddings.npy``, ``items.parquet`` and ``matches.parquet``."""
EVALUATION: Final = "ModelEvaluation"
"""``metrics.json`` and ``slices.parquet``."""
BLESSING: Final = "ModelBlessing"
"""An empty file ``BLESSED`` or ``NOT_BLESSED``, and ``reasons.json``."""
INFRA_BLESSING: Final = "InfraBlessing"
"""An empty file ``INFRA_BLESSED`` or ``INFRA_NOT_BLESSED``, and ``reasons.json``."""
PUSHED_MODEL: Final = "PushedModel"
"""``pushed.json``: where the model went, or why it went nowhere."""


@dataclass(frozen=True)
class Artifact:
    """A finished artifact, as the record knows it and an executor reads it.

    Args:
        type: One of this module's types.
        uri: The folder.
        fingerprint: A hash of what it holds; equal ones are the same for whoever reads them.
        properties: Figures about it, as JSON: rows, counts, digests.
        id: Its number in the record.
        producer: The id of the node that made it, such as ``ExampleGen.office``.
    """

    type: str
    uri: Path
    fingerprint: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0
    producer: str = ""


@dataclass
class OutputArtifact:
    """An artifact that an executor is making.

    Args:
        type: One of this module's types.
        uri: The folder to fill; it is there, empty, and gets its final name later.
        properties: Figures about it, as JSON, for the record; the executor sets them.
        fingerprint: A hash of its content that does not depend on how it was made, such as one
            over records in a canonical order; None has all its files hashed.
    """

    type: str
    uri: Path
    properties: dict[str, Any] = field(default_factory=dict)
    fingerprint: str | None = None


def digest_of(path: Path) -> str:
    """SHA-256 over a file, or over a folder's relative paths and contents, in their order.

    Raises:
        WorkdirError: if there is nothing at the path.
    """
    if path.is_file():
        return _file_digest(path)
    if not path.is_dir():
        raise WorkdirError("there is no such file or folder", where=path)
    digest = hashlib.sha256()
    for file in sorted(found for found in path.rglob("*") if found.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{_file_digest(file)}\n".encode())
    return digest.hexdigest()


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
