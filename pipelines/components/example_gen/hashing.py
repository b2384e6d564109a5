"""The hash of a domain, part after part, equal to that of the whole (``store.content_hash``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.components.example_gen.arrow_files import read_part
from pipelines.components.example_gen.records import KEPT
from pipelines.components.example_gen.tasks import Stats, Task

_FORMAT: Final = 1  # part of the fingerprints: a changed record makes another artifact


@dataclass(frozen=True)
class HashDomain(Task):
    """Reads through what the last step left; holds one bucket's or one range's part of it."""

    domain: str = ""

    def make(self, folder: Path) -> Stats:
        """The domain's hash, and the fingerprints of its users' and of its items' records."""
        users, items = _of(self.sources, "users"), _of(self.sources, "items")
        content, examples = hashlib.sha256(), self._begun("Examples")
        ids = self._begun("ItemIds")
        for digest in (content, examples):
            for part in users:
                digest.update(np.load(part / "values.npy").astype("<i4").data)
            for offsets in _offsets(users):
                digest.update(offsets)
        listed = self._begun("Items")
        for source, column, digests in (
            (items, "id", (content, examples, listed, ids)),
            (items, "title", (content, listed)),
            (users, "id", (content, examples)),
        ):
            for text in _framed(source, column):
                for digest in digests:
                    digest.update(text)
        return {
            "hash": content.hexdigest(),
            "examples": examples.hexdigest(),
            "items": listed.hexdigest(),
            "ids": ids.hexdigest(),
        }

    def _begun(self, what: str) -> Any:
        return hashlib.sha256(json.dumps([what, _FORMAT, self.domain]).encode())


def _of(sources: Sequence[str], what: str) -> list[Path]:
    return sorted(Path(source) for source in sources if Path(source).parent.name == what)


def _offsets(users: Sequence[Path]) -> Iterator[bytes]:
    begin = np.zeros(1, np.int64)
    yield begin.astype("<i8").tobytes()
    for part in users:
        lengths = read_part(part / KEPT).column("length").to_numpy()
        ends = begin[-1] + np.cumsum(lengths, dtype=np.int64)
        begin = ends[-1:] if len(ends) else begin
        yield ends.astype("<i8").tobytes()


def _framed(parts: Iterable[Path], column: str) -> Iterator[bytes]:
    """All texts as one JSON list, as ``store`` frames them."""
    separator = "["
    for part in parts:
        texts = read_part(part / KEPT).column(column).to_pylist()
        if texts:
            inner = json.dumps(texts, ensure_ascii=True, separators=(",", ":"))[1:-1]
            yield f"{separator}{inner}".encode()
            separator = ","
    yield b"]" if separator == "," else b"[]"
