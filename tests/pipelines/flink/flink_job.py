"""A job with what components do: it groups, iterates, counts, writes TFRecords and reads TFXIO.

Logs, as ``user,item,time`` lines -> users and items with at least three events each (iterated) ->
one SequenceExample for each user -> Arrow files, by tfx-bsl. Workers import this module.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics.metric import Metrics

from pipelines.beam_options import build_pipeline
from pipelines.beam_results import read_counters, remove_leftovers

LEAST = 3
Event = tuple[str, str, int]


class ReadLogs(beam.DoFn):
    """A file's path -> its events, which are counted."""

    def __init__(self) -> None:
        self._rows = Metrics.counter("flink_job", "rows read")

    def process(self, element: str) -> Iterator[Event]:
        for line in Path(element).read_text().splitlines():
            user, item, when = line.split(",")
            self._rows.inc()
            yield user, item, int(when)


class KeepLarge(beam.DoFn):
    """A group -> its events, if there are enough; the others are counted."""

    def __init__(self) -> None:
        self._dropped = Metrics.counter("flink_job", "rows dropped")

    def process(self, element: tuple[str, Iterable[Event]]) -> Iterator[Event]:
        events = list(element[1])
        if len(events) >= LEAST:
            yield from events
        else:
            self._dropped.inc(len(events))


class Gate(beam.DoFn):
    """Lets an element pass when the gate is open; tells that this worker has come to it.

    Args:
        folder: Of the gate, or none; the file ``open`` opens it.
    """

    def __init__(self, folder: str | None):
        self.folder = folder

    def process(self, element: Event) -> Iterator[Event]:
        if self.folder is not None:
            gate = Path(self.folder)
            (gate / f"worker-{os.getpid()}").touch()
            end = time.monotonic() + 240
            while not (gate / "open").exists() and time.monotonic() < end:
                time.sleep(0.1)
        yield element


class Encode(beam.DoFn):
    """A user's events -> a serialized SequenceExample, oldest item first."""

    def __init__(self) -> None:
        self._users = Metrics.counter("flink_job", "users")

    def process(self, element: tuple[str, Iterable[Event]]) -> Iterator[bytes]:
        import tensorflow as tf

        user, events = element
        made = tf.train.SequenceExample()
        made.context.feature["user_id"].bytes_list.value.append(user.encode())
        for _, item, _ in sorted(events, key=lambda event: (event[2], event[1])):
            step = made.feature_lists.feature_list["item_ids"].feature.add()
            step.bytes_list.value.append(item.encode())
        self._users.inc()
        yield made.SerializeToString(deterministic=True)


class WriteArrow(beam.DoFn):
    """Record batches -> an Arrow file for each, which appears whole or not at all; its name."""

    def __init__(self, folder: str):
        self.folder = folder

    def process(self, element: pa.RecordBatch) -> Iterator[str]:
        name = Path(self.folder) / uuid.uuid4().hex
        with (
            pa.OSFile(f"{name}.part", "wb") as sink,
            pa.ipc.new_stream(sink, element.schema) as out,
        ):
            out.write_batch(element)
        os.replace(f"{name}.part", f"{name}.arrow")
        yield f"{name}.arrow"


class WriteNames(beam.DoFn):
    """All names -> one file; those of attempts that failed are not among them."""

    def __init__(self, file: str):
        self.file = file

    def process(self, element: list[str]) -> None:
        part = f"{self.file}.{uuid.uuid4().hex}"
        Path(part).write_text("\n".join(sorted(element)))
        os.replace(part, self.file)


def by_user(event: Event) -> tuple[str, Event]:
    return event[0], event


def by_item(event: Event) -> tuple[str, Event]:
    return event[1], event


def as_line(event: Event) -> str:
    return ",".join(map(str, event))


def _run(pipeline: beam.Pipeline) -> dict[str, int]:
    result = pipeline.run()
    result.wait_until_finish()
    return read_counters(result, "flink_job")


def filter_once(logs: Sequence[Path], folder: Path, beam_args: Sequence[str]) -> dict[str, int]:
    """One round: drops users, then items, with too few events."""
    pipeline = build_pipeline(beam_args)
    events = (
        pipeline | beam.Create(list(map(str, logs))) | beam.Reshuffle() | beam.ParDo(ReadLogs())
    )
    for name, key in (("users", by_user), ("items", by_item)):
        events = (
            events
            | f"By {name}" >> beam.Map(key)
            | f"Group {name}" >> beam.GroupByKey()
            | f"Keep {name}" >> beam.ParDo(KeepLarge())
        )
    sink = beam.io.WriteToText(str(folder / "log"), num_shards=2)
    _ = events | beam.Map(as_line) | sink
    return _run(pipeline)


def write_examples(
    logs: Sequence[Path], folder: Path, beam_args: Sequence[str], gate: Path | None
) -> dict[str, int]:
    """TFRecords of users, in two shards."""
    pipeline = build_pipeline(beam_args)
    sink = beam.io.WriteToTFRecord(
        str(folder / "data_tfrecord"), file_name_suffix=".gz", num_shards=2
    )
    _ = (
        pipeline
        | beam.Create(list(map(str, logs)))
        | beam.Reshuffle()
        | beam.ParDo(ReadLogs())
        | "Before" >> beam.Map(by_user)
        | "Spread" >> beam.GroupByKey()
        | beam.FlatMapTuple(lambda user, events: events)
        | beam.ParDo(Gate(None if gate is None else str(gate)))
        | beam.Map(by_user)
        | beam.GroupByKey()
        | beam.ParDo(Encode())
        | sink
    )
    return _run(pipeline)


def write_arrow(pattern: str, folder: Path, beam_args: Sequence[str]) -> list[Path]:
    """Arrow files of what tfx-bsl reads."""
    from tfx_bsl.tfxio.tf_sequence_example_record import TFSequenceExampleRecord

    pipeline = build_pipeline(beam_args)
    source = TFSequenceExampleRecord(pattern, ["flink_job"])
    names = pipeline | source.BeamSource() | beam.ParDo(WriteArrow(str(folder)))
    manifest = folder / "names.txt"
    _ = names | beam.combiners.ToList() | beam.ParDo(WriteNames(str(manifest)))
    _run(pipeline)
    return [Path(name) for name in manifest.read_text().splitlines()]


def run_job(
    logs: Sequence[Path], folder: Path, beam_args: Sequence[str] = (), gate: Path | None = None
) -> dict[str, object]:
    """Everything; what comes back does not depend on the runner."""
    rounds = []
    while not rounds or rounds[-1].get("rows dropped"):
        out = folder / f"round-{len(rounds)}"
        out.mkdir(parents=True)
        rounds.append(filter_once(logs, out, beam_args))
        logs = sorted(out.glob("log-*"))
    examples, arrow = folder / "examples", folder / "arrow"
    examples.mkdir()
    arrow.mkdir()
    counted = write_examples(logs, examples, beam_args, gate)
    remove_leftovers(examples)
    batches = write_arrow(str(examples / "*.gz"), arrow, beam_args)
    return {
        "rounds": rounds,
        "counted": counted,
        "examples": fingerprint(_records(examples)),
        "files": sorted(path.name for path in examples.iterdir()),
        "arrow": fingerprint(_arrow_rows(batches)),
    }


def fingerprint(records: Iterable[bytes]) -> str:
    """A hash in which order means nothing, and how often a record stands there does."""
    digests = sorted(hashlib.sha256(record).digest() for record in records)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _records(folder: Path) -> Iterator[bytes]:
    import tensorflow as tf

    files = sorted(map(str, folder.iterdir()))
    yield from tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()


def _arrow_rows(files: Sequence[Path]) -> Iterator[bytes]:
    for file in files:
        for row in pa.ipc.open_stream(file.read_bytes()).read_all().to_pylist():
            yield repr(sorted(row.items())).encode()
