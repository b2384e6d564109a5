"""Peak memory and time of a shuffle by user, in Arrow batches, on Beam's own runner and on Flink.

    python -m pipelines.beam_shuffle --rows 14000000 [--flink] [--folder DIR]

One event is a user id and an item id as text and a time, as ExampleGen reads them. Blocks of events
are drawn by a seeded generator on the workers, cut into parts by the user's hash, grouped by part,
and each part is sorted by user and time. Prints one line of JSON. On Flink, memory is the sum over
all processes (proportional set sizes), sampled twice a second; else it is this process' peak.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics.metric import Metrics

from pipelines.beam_options import build_pipeline
from pipelines.beam_results import read_counters

BLOCK: Final = 100_000
PARTS: Final = 128
NUM_USERS: Final = 2_000_000
NUM_ITEMS: Final = 500_000
_NAMESPACE: Final = "beam_shuffle"


class DrawBlock(beam.DoFn):
    """A block's number and rows -> one Arrow table for each part; holds one block."""

    def process(self, element: tuple[int, int]) -> Iterator[tuple[int, bytes]]:
        """Draws it, the same for the same number."""
        number, rows = element
        draw = np.random.default_rng(number)
        users = draw.integers(NUM_USERS, size=rows)
        table = pa.table(
            {
                "user": pc.binary_join_element_wise("user-", pa.array(users).cast(pa.string()), ""),
                "item": pa.array(draw.zipf(1.3, rows) % NUM_ITEMS).cast(pa.string()),
                "time": draw.integers(2**31, size=rows),
            }
        )
        parts = users % PARTS
        order = np.argsort(parts, kind="stable")
        borders = np.searchsorted(parts[order], np.arange(PARTS + 1))
        table = table.take(order)
        for part in range(PARTS):
            some = table.slice(borders[part], borders[part + 1] - borders[part])
            yield part, write_table(some)


class SortPart(beam.DoFn):
    """A part's tables -> nothing but counters; holds one part, 1/128 of the events."""

    def __init__(self) -> None:
        self._counters = {
            name: Metrics.counter(_NAMESPACE, name) for name in ("rows", "users", "time")
        }

    def process(self, element: tuple[int, Iterable[bytes]]) -> None:
        """Sorts it by user and time."""
        table = pa.concat_tables([read_table(one) for one in element[1]])
        table = table.sort_by([("user", "ascending"), ("time", "ascending")])
        self._counters["rows"].inc(table.num_rows)
        self._counters["users"].inc(pc.count_distinct(table["user"]).as_py())
        self._counters["time"].inc(pc.sum(table["time"]).as_py() % 1_000_003)


def write_table(table: pa.Table) -> bytes:
    """An Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    return sink.getvalue().to_pybytes()


def read_table(data: bytes) -> pa.Table:
    """What ``write_table`` wrote."""
    return pa.ipc.open_stream(data).read_all()


def shuffle(rows: int, beam_args: Sequence[str]) -> dict[str, int]:
    """Runs the pipeline; what was counted is the same on every runner."""
    blocks = [(i, min(BLOCK, rows - i * BLOCK)) for i in range(-(-rows // BLOCK))]
    pipeline = build_pipeline(beam_args)
    _ = (
        pipeline
        | beam.Create(blocks)
        | beam.Reshuffle()
        | beam.ParDo(DrawBlock())
        | beam.GroupByKey()
        | beam.ParDo(SortPart())
    )
    result = pipeline.run()
    result.wait_until_finish()
    return read_counters(result, _NAMESPACE)


class GroupMemory(threading.Thread):
    """Samples the memory of process groups: proportional set sizes, in bytes."""

    def __init__(self, groups: Sequence[int]):
        super().__init__(daemon=True)
        self.groups = frozenset(groups)
        self.peak = 0
        self.ended = threading.Event()

    def run(self) -> None:
        """Until ``ended``."""
        while not self.ended.wait(0.5):
            self.peak = max(self.peak, sum(self._sizes()))

    def _sizes(self) -> Iterator[int]:
        for folder in Path("/proc").iterdir():
            with suppress(OSError, ValueError, StopIteration):
                if os.getpgid(int(folder.name)) in self.groups:
                    lines = (folder / "smaps_rollup").read_text().splitlines()
                    yield 1024 * int(next(x for x in lines if x.startswith("Pss:")).split()[1])


def measure_flink(rows: int, folder: Path) -> dict[str, Any]:
    """On a cluster of two TaskManagers."""
    from pipelines.flink import FlinkCluster, find_distribution

    with FlinkCluster(find_distribution(), folder) as cluster:
        memory = GroupMemory([process.pid for process in cluster.processes()])
        memory.start()
        start = time.monotonic()
        counted = shuffle(rows, cluster.beam_args)
        seconds = time.monotonic() - start
        memory.ended.set()
        memory.join()
    return {"runner": "flink", **counted, "seconds": seconds, "peak_mib": memory.peak / 2**20}


def measure_here(rows: int) -> dict[str, Any]:
    """On Beam's own runner, in this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    counted = shuffle(rows, ())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {"peak_mib": peak / 1024, "before_mib": before / 1024}
    return {"runner": "fnapi", **counted, "seconds": time.monotonic() - start, **figures}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.beam_shuffle")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--flink", action="store_true", help="needs `make flink`")
    parser.add_argument("--folder", type=Path, help="for the cluster's logs and spilled data")
    given = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        found = measure_flink(given.rows, folder) if given.flink else measure_here(given.rows)
    sys.stdout.write(json.dumps({"load": os.getloadavg()[0], **found}) + "\n")


if __name__ == "__main__":
    # Workers import this module by its name, and so must what is pickled.
    from pipelines import beam_shuffle

    beam_shuffle.main()
