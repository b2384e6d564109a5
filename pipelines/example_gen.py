"""ExampleGen: a prepared domain as TFRecords in TFX's layout, and back.

    <root>/ExampleGen/examples/<execution id>/
        Split-train/data_tfrecord-00000-of-00001.gz   without the two held-out items
        Split-eval/data_tfrecord-00000-of-00001.gz    whole; the last two validate and test
        schema.pbtxt                                  tensorflow_metadata's schema of a record
        counts.json                                   records and interactions, and whence

Usage::

    python -m pipelines.example_gen --domain FOLDER --root DIR [--execution_id ID] [Beam's options]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from idp_tf.data.sequences import MIN_LENGTH
from idp_tf.data.store import load_domain
from idp_tf.errors import (
    DataError,
    EmptyDomainError,
    IdpError,
    SettingsError,
    WorkdirError,
)
from pipelines.examples_reader import COUNTS, UserSequences, read_counts, read_sequences

if TYPE_CHECKING:
    from idp_tf.data.domain import Domain

__all__ = ["UserSequences", "generate_examples", "main", "read_sequences"]

COMPONENT: Final = "ExampleGen"
OUTPUT: Final = "examples"
SCHEMA: Final = "schema.pbtxt"
BLOCK_USERS: Final = 4096
"""Users that are Python objects at the same time."""

_FORMAT: Final = 1  # part of the fingerprint: a changed record makes a new execution
_FILES: Final = tuple(
    f"Split-{split}/data_tfrecord-00000-of-00001.gz" for split in ("train", "eval")
)
_LOG = logging.getLogger("pipelines.example_gen")  # __name__ is __main__ for the command


def generate_examples(
    domain: Path,
    root: Path,
    *,
    execution_id: str | None = None,
    beam_args: Sequence[str] = (),
    block_users: int = BLOCK_USERS,
) -> Path:
    """Writes a prepared domain's examples, whole or not at all.

    An execution that exists and was made from the same domain is reused, and nothing is
    written; one that was made from another domain is refused. Beam's local runner keeps a
    split's serialized records in memory until they are written.

    Args:
        domain: The folder of a prepared domain.
        root: The pipeline's root.
        execution_id: The execution's folder; by default it follows from the domain's content.
        beam_args: Options for Beam, such as ``--direct_num_workers=2``.
        block_users: How many users are read at once.

    Returns:
        The execution's folder.

    Raises:
        MissingDependencyError: if Beam or tfx-bsl is not installed.
        SettingsError: if an option cannot be used.
        DataError: if the domain is missing, empty or has users with too few items.
        WorkdirError: if the execution's folder holds something else.
    """
    from pipelines.sequence_examples import build_options

    options = build_options(beam_args)
    if block_users < 1:
        raise SettingsError(f"block_users must be at least 1, got {block_users}")
    loaded = load_domain(domain)
    _check_lengths(loaded, domain)
    fingerprint = _fingerprint(loaded)
    folder = root / COMPONENT / OUTPUT / _checked_id(execution_id or fingerprint[:16])
    if folder.exists():
        return _reused(folder, fingerprint)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh.chmod(0o755)  # mkdtemp shuts others out
        _write(loaded, domain, fresh, fingerprint, options, block_users)
        os.replace(fresh, folder)
    except OSError:
        if folder.exists():  # another run was faster
            return _reused(folder, fingerprint)
        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _LOG.info("wrote %s", folder)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; options that it does not know go to Beam."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.example_gen",
        description="Write a prepared domain as TFRecords in TFX's layout.",
        epilog="All other options are Beam's.",
        allow_abbrev=False,
    )
    parser.add_argument("--domain", type=Path, required=True, help="folder of a prepared domain")
    parser.add_argument("--root", type=Path, required=True, help="the pipeline's root")
    parser.add_argument("--execution_id", help="default: it follows from the domain's content")
    own, beam_args = parser.parse_known_args(arguments)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("pipelines").setLevel(logging.INFO)
    try:
        folder = generate_examples(
            own.domain, own.root, execution_id=own.execution_id, beam_args=beam_args
        )
    except IdpError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    sys.stdout.write(f"{folder}\n")
    return 0


def _checked_id(execution_id: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", execution_id):
        raise SettingsError(
            f"execution_id must be letters, digits, '_', '.' and '-', got {execution_id!r}",
            remedy="leave it out, or give a plain name",
        )
    return execution_id


def _check_lengths(domain: Domain, folder: Path) -> None:
    if domain.sequences.num_users == 0:
        raise EmptyDomainError("the domain has no users", where=folder)
    short = np.flatnonzero(domain.sequences.lengths < MIN_LENGTH)
    if short.size:
        raise DataError(
            f"user {domain.user_ids[short[0]]!r} has fewer than {MIN_LENGTH} items",
            where=folder,
            remedy="prepare the domain again",
        )


def _fingerprint(domain: Domain) -> str:
    """What the output depends on, and nothing else (Beam's options change no record)."""
    parts = [COMPONENT, _FORMAT, domain.name, domain.manifest["hash"]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _reused(folder: Path, fingerprint: str) -> Path:
    remedy = "give another execution_id, or remove that folder"
    missing = [name for name in (*_FILES, SCHEMA, COUNTS) if not (folder / name).is_file()]
    if missing:
        raise WorkdirError(
            f"the execution is not whole: {missing[0]} is missing", where=folder, remedy=remedy
        )
    if read_counts(folder).get("fingerprint") != fingerprint:
        raise WorkdirError(
            "the execution was made from another domain", where=folder, remedy=remedy
        )
    _LOG.info("reused %s", folder)
    return folder


def _write(
    domain: Domain, source: Path, folder: Path, fingerprint: str, options: Any, block_users: int
) -> None:
    from google.protobuf import text_format

    from pipelines.sequence_examples import build_schema, write_splits

    splits = write_splits(source, domain.sequences.num_users, folder, options, block_users)
    (folder / SCHEMA).write_text(text_format.MessageToString(build_schema()), encoding="utf-8")
    counts = {
        "domain": domain.name,
        "domain_hash": domain.manifest["hash"],
        "fingerprint": fingerprint,
        "splits": splits,
    }
    text = json.dumps(counts, indent=2, ensure_ascii=False) + "\n"
    (folder / COUNTS).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
