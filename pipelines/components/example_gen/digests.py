"""Checksums of input files, kept so that unchanged files need not be read again."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipelines.artifacts import digest_of


def digests_of(files: Sequence[Path], cache: Path | None) -> list[str]:
    """SHA-256 of each file.

    A file whose path, size and time of change are those of the last time is not read.

    Args:
        files: The files.
        cache: Where checksums are kept; None keeps none. One that is damaged is made again.
    """
    kept = _load(cache)
    found = {}
    for file in files:
        state = file.stat()
        key = json.dumps([str(file.resolve()), state.st_size, state.st_mtime_ns, state.st_ino])
        found[key] = kept.get(key) or digest_of(file)
    if cache is not None and not found.keys() <= kept.keys():
        paths = {json.loads(key)[0] for key in found}
        others = {key: digest for key, digest in kept.items() if json.loads(key)[0] not in paths}
        _store(cache, others | found)
    return list(found.values())


def _load(cache: Path | None) -> dict[str, str]:
    if cache is None or not cache.is_file():
        return {}
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        return {key: str(digest) for key, digest in kept.items() if json.loads(key)}
    except (ValueError, AttributeError):
        return {}


def _store(cache: Path, kept: dict[str, str]) -> None:
    """Whole or not at all; of two runs at once the later one stays."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    handle, fresh = tempfile.mkstemp(prefix=f".{cache.name}-", dir=cache.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(kept, stream)
    os.replace(fresh, cache)
