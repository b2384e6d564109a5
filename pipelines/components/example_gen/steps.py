"""The steps of ExampleGen in their order: what each is told of those before, and no more."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from idp_tf.data.filters import FilterRecord
from idp_tf.data.prepare import core_filters, nothing_left, some_without_time
from idp_tf.data.readers.raw import (
    known_as,
    no_rows,
    only_unknown_items,
    repeated_item,
    unknown_item,
)
from idp_tf.data.readers.shards import Shards
from idp_tf.errors import DataError
from pipelines.beam_memory import check_memory
from pipelines.beam_options import build_options
from pipelines.components.example_gen.arrow_files import borders
from pipelines.components.example_gen.hashing import HashDomain
from pipelines.components.example_gen.ids import Blocks, Coded, CodeItems, SortItems, SortUsers
from pipelines.components.example_gen.parameters import ExampleGenParameters
from pipelines.components.example_gen.reading import ReadFile
from pipelines.components.example_gen.records import WriteItems, WriteUsers
from pipelines.components.example_gen.rows import (
    BYTES_PER_ROW,
    CodeUsers,
    DropFromBucket,
    GatherBucket,
    SumCounts,
)
from pipelines.components.example_gen.tasks import Stats, Task, run_tasks

_WORKER_BYTES: Final = 2**29
"""What a worker holds before it has any rows: Python, TensorFlow, a block of a file."""
_log = logging.getLogger("pipelines.ExampleGen")


@dataclass(frozen=True)
class Read:
    """What the files hold.

    Args:
        logs: What was counted in each file of interactions.
        items: What was counted in each file of items.
        blocks: The blocks of interactions.
        item_blocks: The blocks of items.
    """

    logs: Sequence[Stats]
    items: Sequence[Stats]
    blocks: Blocks
    item_blocks: Blocks


@dataclass(frozen=True)
class Buckets:
    """Interactions after a filter.

    Args:
        folders: The buckets, in the order of their users.
        counts: The folders of the items' counts, in the order of their ranges.
        users: Users that are left.
        items: Items that have interactions.
        interactions: Interactions that are left.
        short: Users with less than each of the filters' minima.
        rare: Items with less than the minimum.
        rows: Interactions before the first filter.
    """

    folders: tuple[str, ...]
    counts: tuple[str, ...]
    users: int
    items: int
    interactions: int
    short: tuple[int, ...]
    rare: int
    rows: int

    def counted(self) -> dict[str, int]:
        """As ``Interactions.counts`` has it."""
        return {"users": self.users, "items": self.items, "interactions": self.interactions}


class Steps:
    """Runs the steps; holds counters, names of folders and a sample of the ids.

    Args:
        parameters: The parameters.
        shards: The input files.
        work: Where everything lies that is no output.
        beam_args: Options for Beam.
    """

    def __init__(
        self,
        parameters: ExampleGenParameters,
        shards: Shards,
        work: Path,
        beam_args: Sequence[str],
    ):
        self.parameters = parameters
        self.shards = shards
        self.beam_args = beam_args
        self._workers = workers_of(beam_args)
        # The number of buckets changes no result, but what the folders of a killed run hold.
        self._work = work / f"buckets-of-{parameters.rows_per_bucket}"
        self.reading = self._work / "read"

    def read(self) -> Read:
        """Reads all files; stops where too much is bad, or nothing is left."""
        kinds = ("interactions", self.shards.interactions), ("items", self.shards.items)
        tasks = [
            ReadFile(
                str(self.reading / kind),
                number,
                kind="interactions" if kind == "interactions" else "items",
                file=str(file.absolute()),
                known_as=known_as(file, files),
                form=self.shards.layout.form,
                columns=dict(self.parameters.columns),
                times=self.parameters.times,
                most=self.parameters.max_listed,
            )
            for kind, files in kinds
            for number, file in enumerate(files)
        ]
        (stats,) = run_tasks(tasks, beam_args=self.beam_args)
        found = list(zip(tasks, stats, strict=True))
        logs, items = ([(t, s) for t, s in found if t.kind == kind] for kind, _ in kinds)
        for (kind, files), of_kind in zip(kinds, (logs, items), strict=True):
            self._check_bad(kind, [s for _, s in of_kind])
            if not any(s["rows"] for _, s in of_kind):
                raise no_rows(kind, files)
        self._check_memory(sum(s["rows"] for _, s in logs))
        return Read(
            [s for _, s in logs], [s for _, s in items], _blocks_of(logs), _blocks_of(items)
        )

    def code_items(self, read: Read) -> tuple[Coded, Blocks, int, int]:
        """Gives items codes.

        Returns:
            The items, the blocks in which they are codes, the number of repeated rows, and that
            of interactions with unknown items.
        """
        sample = [i for s in (*read.logs, *read.items) for i in s["samples"]["items"]]
        size = sum(s["rows"] for s in read.items) + sum(s["rows"] for s in read.logs) // 4
        cuts = tuple(borders(sample, self._ranges(size)))
        phase = str(self._work / "sort-items")
        untitled = self.parameters.unknown_items == "untitled"
        tasks = [
            SortItems(
                phase,
                number,
                blocks=read.blocks,
                item_blocks=read.item_blocks,
                cuts=cuts,
                untitled=untitled,
            )
            for number in range(len(cuts) + 1)
        ]
        (ranges,) = run_tasks(tasks, beam_args=self.beam_args)
        self._check_repeated(ranges)
        items = _coded(tasks, cuts, [s["items"] for s in ranges])
        coding = [
            CodeItems(str(self._work / "code-items"), number, block=block, items=items)
            for number, block in enumerate(read.blocks)
        ]
        (blocks,) = run_tasks(coding, beam_args=self.beam_args)
        self._check_unknown(ranges, blocks)
        left = sum(s["rows"] for s in blocks)
        missing = sum(s["without time"] for s in blocks)
        if missing and (self.parameters.ties != "source" or missing < left):
            raise some_without_time(missing, left, self.parameters.domain)
        coded = tuple((str(task.folder), 0) for task in coding)
        repeated = sum(s["repeated"] for s in ranges)
        return items, coded, repeated, sum(s["unknown"] for s in blocks)

    def code_users(self, read: Read, blocks: Blocks) -> Coded:
        """Gives users codes; each range of users is a bucket."""
        sample = [u for s in read.logs for u in s["samples"]["users"]]
        cuts = tuple(borders(sample, self._ranges(sum(s["rows"] for s in read.logs))))
        phase = str(self._work / "sort-users")
        tasks = [SortUsers(phase, n, blocks=blocks, cuts=cuts) for n in range(len(cuts) + 1)]
        (ranges,) = run_tasks(tasks, beam_args=self.beam_args)
        return _coded(tasks, cuts, [s["users"] for s in ranges])

    def gather(self, blocks: Blocks, users: Coded, items: Coded) -> Buckets:
        """Brings the rows of each bucket together, and drops repeated ones."""
        starts = tuple(items.offsets[:-1].tolist())
        coding = [
            CodeUsers(
                str(self._work / "code-users"), n, len(users.folders), block=folder, users=users
            )
            for n, (folder, _) in enumerate(blocks)
        ]
        bucket = GatherBucket(
            str(self._work / "gather"),
            buckets=len(items.folders),
            minima=self._minima(),
            item_offsets=starts,
            workers=self._workers,
        )
        total = self._sums("gather-counts", items)
        _, found, sums = run_tasks(
            coding,
            (bucket, len(users.folders)),
            (total, len(items.folders)),
            beam_args=self.beam_args,
        )
        for done in (self.reading, self._work / "code-items", self._work / "code-users"):
            for file in done.rglob("*.arrow"):  # of no more use; what was counted stays
                file.unlink()
        return _buckets(Path(bucket.phase), found, Path(total.phase), sums)

    def filter(self, found: Buckets, items: Coded) -> tuple[Buckets, list[FilterRecord]]:
        """The iterated filters, round after round."""
        records, number = [], 0
        filters = core_filters(self.parameters.k_core)
        for at, (title, minimum) in enumerate(filters):
            before, rounds = found, 0
            while found.short[at] or found.rare:
                number, rounds = number + 1, rounds + 1
                found = self._drop(found, items, minimum, number)
                if not found.interactions:
                    raise nothing_left(before.counted(), title, minimum, self.parameters.domain)
            parameters = {**minimum, "rounds": rounds}
            records.append(
                FilterRecord.between(title, parameters, before.counted(), found.counted())
            )
        return found, records

    def write(self, found: Buckets, users: Coded, items: Coded) -> tuple[list[Task], list[Stats]]:
        """Writes records and hashes them.

        Returns:
            All tasks that wrote records, and what these and, as the last one, the hash returned.
        """
        first = 1
        tasks: list[Task] = []
        for number, (folder, counts) in enumerate(zip(items.folders, found.counts, strict=True)):
            phase = str(self._work / "items")
            tasks.append(WriteItems(phase, number, items=folder, counts=counts, first_id=first))
            first += _items_in(counts)
        tasks += [
            WriteUsers(
                str(self._work / "users"),
                number,
                bucket=folder,
                users=users,
                items=items,
                counts=found.counts,
                ties=self.parameters.ties,
                seed=self.parameters.seed,
            )
            for number, folder in enumerate(found.folders)
        ]
        final = HashDomain(str(self._work / "hash"), domain=self.parameters.domain)
        written, hashed = run_tasks(tasks, (final, 1), beam_args=self.beam_args)
        return tasks, [*written, *hashed]

    def _drop(
        self, found: Buckets, items: Coded, minimum: Mapping[str, int], number: int
    ) -> Buckets:
        """One round; what the round before it left is removed, being of no more use."""
        phase = self._work / f"round-{number:04d}"
        tasks = [
            DropFromBucket(
                str(phase),
                at,
                len(items.folders),
                before=folder,
                counts=found.counts,
                minima=self._minima(),
                item_offsets=tuple(items.offsets[:-1].tolist()),
                user_minimum=minimum["user_minimum"],
                item_minimum=minimum["item_minimum"],
            )
            for at, folder in enumerate(found.folders)
        ]
        total = self._sums(f"round-{number:04d}-counts", items)
        dropped, sums = run_tasks(tasks, (total, len(items.folders)), beam_args=self.beam_args)
        for folder in found.folders:
            for file in Path(folder).glob("*.arrow"):
                file.unlink()
        return _buckets(phase, dropped, Path(total.phase), sums)

    def _sums(self, phase: str, items: Coded) -> SumCounts:
        return SumCounts(
            str(self._work / phase),
            sizes=items.sizes,
            item_offsets=tuple(items.offsets[:-1].tolist()),
            minimum=self.parameters.k_core,
        )

    def _minima(self) -> tuple[int, ...]:
        return tuple(minimum["user_minimum"] for _, minimum in core_filters(self.parameters.k_core))

    def _ranges(self, rows: int) -> int:
        return max(1, math.ceil(rows / self.parameters.rows_per_bucket))

    def _check_memory(self, rows: int) -> None:
        """On other runners workers look at their own memory, when they gather a bucket."""
        held = min(rows, self.parameters.rows_per_bucket)
        check_memory(
            self.parameters.domain,
            f"{self._workers} workers with buckets of {held} interactions",
            self._workers * (_WORKER_BYTES + held * BYTES_PER_ROW),
            self.beam_args,
            remedy="set rows_per_bucket lower, or take fewer workers",
        )

    def _check_bad(self, kind: str, stats: Sequence[Stats]) -> None:
        bad = sum(sum(s["bad"].values()) for s in stats)
        total = bad + sum(s["rows"] for s in stats)
        most = self.parameters.max_bad_share
        if bad <= most * total:
            return
        shown = [row for s in stats for row in s["first bad"]][:3]
        examples = "; ".join(
            f"{row['file']}, line {row['line']}: {row['field']} holds {row['value']!r}, expected"
            f" {row['reason']}"
            for row in shown
        )
        raise DataError(
            f"{bad} of {total} rows of {kind} are bad ({bad / total:.2%}), more than"
            f" {most:.2%}: {examples}",
            where=self.parameters.domain,
            remedy="mend the files, or raise example_gen.max_bad_share",
        )

    def _check_repeated(self, ranges: Sequence[Stats]) -> None:
        if self.parameters.repeated_items == "first":
            return
        found = [s["first repeated"] for s in ranges if s["first repeated"]]
        if found:
            first = min(found, key=lambda one: min(one["places"]))
            ids = sum(s["repeated ids"] for s in ranges)
            raise repeated_item(first["item_id"], first["places"], ids, self.shards.items)

    def _check_unknown(self, ranges: Sequence[Stats], blocks: Sequence[Stats]) -> None:
        found = [s["first unknown"] for s in blocks if s["first unknown"]]
        if found and self.parameters.unknown_items == "error":
            first: dict[str, Any] = min(found, key=lambda one: one["place"])
            counts = sum(s["unknown"] for s in blocks), sum(s["unknown"] for s in ranges)
            files = self.shards.interactions, self.shards.items
            raise unknown_item(first["item_id"], first["place"], counts, files)
        if not sum(s["rows"] for s in blocks):
            raise only_unknown_items(self.shards.interactions)


def workers_of(beam_args: Sequence[str]) -> int:
    """How many workers of this machine Beam is to use."""
    from apache_beam.options.pipeline_options import DirectOptions

    return max(1, build_options(beam_args).view_as(DirectOptions).direct_num_workers)


def _blocks_of(found: Sequence[tuple[ReadFile, Stats]]) -> Blocks:
    return tuple((str(t.folder), block) for t, s in found for block in range(s["blocks"]))


def _coded(tasks: Sequence[Task], cuts: tuple[str, ...], sizes: Sequence[int]) -> Coded:
    return Coded(tuple(str(task.folder) for task in tasks), cuts, tuple(sizes))


def _items_in(counts: str) -> int:
    stats = json.loads((Path(counts) / "stats.json").read_text(encoding="utf-8"))
    return int(stats["items"])


def _buckets(phase: Path, found: Sequence[Stats], counts: Path, sums: Sequence[Stats]) -> Buckets:
    return Buckets(
        tuple(str(phase / f"{n:05d}") for n in range(len(found))),
        tuple(str(counts / f"{n:05d}") for n in range(len(sums))),
        sum(s["users"] for s in found),
        sum(s["items"] for s in sums),
        sum(s["interactions"] for s in found),
        tuple(map(sum, zip(*(s["below"] for s in found), strict=True))),
        sum(s["below"] for s in sums),
        sum(s.get("rows", 0) for s in found),
    )
