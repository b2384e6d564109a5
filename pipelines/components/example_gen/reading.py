"""The first step: files, block by block, to ids in sorted dictionaries and rows of numbers.

What a file becomes::

    rows-00000.arrow     user and item (int32, positions in the two below), time, place (int64)
    users-00000.arrow    the block's user ids, ascending
    items-00000.arrow    the block's item ids, ascending; of a file of items with titles and places
    quarantine.jsonl     rows that were set aside
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
import pyarrow as pa

from idp_tf.data.readers.bad_rows import SetAside
from idp_tf.data.readers.files import LINE, SourceFile
from idp_tf.data.readers.raw import ReadOptions, placed
from idp_tf.data.readers.shards import FORMATS, interaction_blocks, item_blocks
from idp_tf.data.schema import COLUMNS
from idp_tf.data.titles import clean_titles
from pipelines.components.example_gen.arrow_files import write_parts
from pipelines.components.example_gen.tasks import Stats, Task

BLOCK_ROWS: Final = 2**19
"""Most rows of a block; readers give what 16 MiB of text hold, or a whole table."""
QUARANTINE: Final = "quarantine.jsonl"
_SAMPLED: Final = 1000
_SHOWN: Final = 3


@dataclass(frozen=True)
class ReadFile(Task):
    """Reads one file; holds one block of it, or the whole where a reader has no smaller ones.

    Args:
        kind: Whether it holds interactions or items.
        file: The file.
        known_as: Its name in records.
        form: Its format, one of ``FORMATS``.
        columns: ``ReadOptions.columns``.
        times: ``ReadOptions.times``.
        tolerant: Whether bad rows are set aside.
        most: How many of these are listed.
    """

    kind: Literal["interactions", "items"] = "interactions"
    file: str = ""
    known_as: str = ""
    form: str = "tables"
    columns: Mapping[str, str | None] = field(default_factory=dict)
    times: tuple[float, float] | None = None
    tolerant: bool = True
    most: int = 10_000

    def make(self, folder: Path) -> Stats:
        """Reads the file's blocks into numbered files."""
        bad = SetAside(most=self.most)
        options = ReadOptions(columns=self.columns, times=self.times)
        if self.tolerant:
            options = ReadOptions(columns=self.columns, times=self.times, bad_rows=bad)
        file, layout = Path(self.file), FORMATS[self.form]
        read = interaction_blocks if self.kind == "interactions" else item_blocks
        sizes: list[int] = []
        sampled: dict[str, list[str]] = {"users": [], "items": []}
        for block in _smaller(placed(read(layout, file, options), self.number)):
            write = _write_interactions if self.kind == "interactions" else _write_items
            found = write(block, folder, len(sizes))
            sizes.append(block.height)
            for what, ids in found.items():
                sampled[what] += ids
        _write_quarantine(folder / QUARANTINE, bad, self.known_as)
        rows, wrong = sum(sizes), bad.counts.total()
        return {
            "rows": rows,
            "blocks": len(sizes),
            "bad": dict(bad.counts),
            "first bad": [asdict(row) | {"file": self.known_as} for row in bad.rows[:_SHOWN]],
            "listed": len(bad.rows),
            "samples": sampled,
            "source": SourceFile.of(file, self.known_as).as_dict(),
            "counters": {
                f"rows read: {self.kind}": rows + wrong,
                **({} if rows + wrong else {"files without rows": 1}),
                **{f"rows dropped: {why}": count for why, count in bad.counts.items()},
            },
        }


def block_file(folder: str | Path, what: str, block: int) -> Path:
    """A block's file: of ``rows``, ``users`` or ``items``."""
    return Path(folder) / f"{what}-{block:05d}.arrow"


def factorized(ids: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Distinct ids, ascending, and the position (int32) of each row's among them."""
    distinct = ids.unique().sort()
    return distinct, ids.cast(pl.Enum(distinct)).to_physical().cast(pl.Int32)


def _smaller(blocks: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    for block in blocks:
        if block.height:
            yield from block.iter_slices(BLOCK_ROWS)


def _write_interactions(rows: pl.DataFrame, folder: Path, block: int) -> dict[str, list[str]]:
    users, user_codes = factorized(rows[COLUMNS.user_id])
    items, item_codes = factorized(rows[COLUMNS.item_id])
    for what, ids in (("users", users), ("items", items)):
        write_parts(block_file(folder, what, block), [_batch({"id": ids})])
    columns = {
        "user": user_codes,
        "item": item_codes,
        "time": rows[COLUMNS.timestamp],
        "place": rows[LINE],
    }
    write_parts(block_file(folder, "rows", block), [_batch(columns)])
    return {
        "users": _sample(rows[COLUMNS.user_id], weight=rows.height),
        "items": _sample(items, weight=len(items)),
    }


def _write_items(rows: pl.DataFrame, folder: Path, block: int) -> dict[str, list[str]]:
    ordered = rows.sort(COLUMNS.item_id, maintain_order=True)
    columns = {
        "id": ordered[COLUMNS.item_id],
        "title": clean_titles(ordered[COLUMNS.title]),
        "place": ordered[LINE],
    }
    write_parts(block_file(folder, "items", block), [_batch(columns)])
    return {"items": _sample(ordered[COLUMNS.item_id], weight=ordered.height)}


def _sample(ids: pl.Series, weight: int) -> list[str]:
    """Every n-th id: about one of five hundred, but some of a small block too."""
    size = min(max(weight // 500, 20), _SAMPLED)
    sampled: list[str] = ids.gather_every(max(1, len(ids) // size)).to_list()
    return sampled


def _batch(columns: Mapping[str, pl.Series]) -> pa.RecordBatch:
    arrays = [series.to_arrow(compat_level=pl.CompatLevel.oldest()) for series in columns.values()]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _write_quarantine(file: Path, bad: SetAside, known_as: str) -> None:
    lines: Sequence[dict[str, Any]] = [asdict(row) | {"file": known_as} for row in bad.rows]
    with file.open("w", encoding="utf-8") as stream:
        for line in lines:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
