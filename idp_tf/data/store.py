"""A prepared domain on the disk.

sequences.npy, offsets.npy   item ids of all users, flat (memory-mapped when loaded)
items.parquet                item_id, title; row i is internal id i + 1
users.parquet                user_id; row u is row u of the sequences
manifest.json                counts, filters, hash
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from idp_tf.data.domain import Domain
from idp_tf.data.schema import COLUMNS, IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import IdpError, MissingDataError, WorkdirError

MANIFEST = "manifest.json"
_ITEMS, _USERS = "items.parquet", "users.parquet"


def write_domain(domain: Domain, folder: Path) -> None:
    """Writes a domain whole or not at all.

    Everything goes into a folder beside ``folder``, which then takes its name; an older
    ``folder`` is moved away first and removed last.

    Args:
        domain: A prepared domain.
        folder: Where it is to lie; its parents are made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh.chmod(0o755)  # mkdtemp shuts others out
        _write_files(domain, fresh)
        _take_place(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def load_domain(folder: Path) -> Domain:
    """Loads what ``write_domain`` wrote; sequences stay on the disk.

    Raises:
        MissingDataError: if there is no prepared domain.
        WorkdirError: if the files cannot be read or differ from the manifest's hash.
    """
    if not (folder / MANIFEST).is_file():
        raise MissingDataError(
            f"no prepared domain here: {MANIFEST} is missing",
            where=folder,
            remedy="prepare the domain; if that says it is done, remove that folder first",
        )
    try:
        domain = _load_files(folder)
    except (
        OSError,
        ValueError,
        KeyError,
        pl.exceptions.PolarsError,
        IdpError,
    ) as error:
        raise _damaged(folder, str(error)) from error
    found = content_hash(
        domain.sequences, domain.item_ids.external_ids, domain.titles, domain.user_ids
    )
    if found != domain.manifest["hash"]:
        raise _damaged(folder, f"its hash is {found}, the manifest says {domain.manifest['hash']}")
    return domain


def content_hash(
    sequences: Sequences, item_ids: list[str], titles: list[str], user_ids: list[str]
) -> str:
    """SHA-256 over sequences, ids and titles, the same on every machine."""
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(sequences.values, "<i4").data)
    digest.update(np.ascontiguousarray(sequences.offsets, "<i8").data)
    for texts in (item_ids, titles, user_ids):
        digest.update(_framed(texts))
    return digest.hexdigest()


def _framed(texts: Iterable[str]) -> bytes:
    """Texts as JSON, in which their borders are unambiguous."""
    return json.dumps(list(texts), ensure_ascii=True, separators=(",", ":")).encode()


def _write_files(domain: Domain, folder: Path) -> None:
    domain.sequences.save(folder)
    items = {
        COLUMNS.item_id: domain.item_ids.external_ids,
        COLUMNS.title: domain.titles,
    }
    pl.DataFrame(items).write_parquet(folder / _ITEMS)
    pl.DataFrame({COLUMNS.user_id: domain.user_ids}).write_parquet(folder / _USERS)
    text = json.dumps(domain.manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _take_place(fresh: Path, folder: Path) -> None:
    if not folder.exists():
        os.replace(fresh, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old)


def _load_files(folder: Path) -> Domain:
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    items = pl.read_parquet(folder / _ITEMS)
    users = pl.read_parquet(folder / _USERS)
    if "hash" not in manifest:
        raise KeyError("the manifest has no hash")
    return Domain(
        manifest["domain"],
        IdMap(items[COLUMNS.item_id]),
        items[COLUMNS.title].to_list(),
        users[COLUMNS.user_id].to_list(),
        Sequences.load(folder),
        manifest,
    )


def _damaged(folder: Path, why: str) -> WorkdirError:
    return WorkdirError(
        f"the prepared domain is damaged: {why}",
        where=folder,
        remedy="remove that folder and prepare the domain again",
    )
