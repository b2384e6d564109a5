"""Pieces of work that Beam hands out, and what is left of them when a worker dies.

Between two steps of ExampleGen only names of folders pass through Beam. The rows themselves lie
in Arrow files, in a part for each bucket of the next step, which reads its own part of each: a
shuffle through a file system that all workers share. So no runner has to hold them, neither
Beam's own, which keeps in memory whatever passes between two steps, nor another.

A task makes one folder, which appears whole with ``stats.json`` in it, or not at all. A folder
that is there is never made again: neither by a bundle that is tried twice, nor after a kill.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from idp_tf import errors
from idp_tf.errors import IdpError, requires_extra
from pipelines.beam_options import build_pipeline

with requires_extra("pipelines", purpose="ExampleGen"):
    import apache_beam as beam
    from apache_beam.metrics.metric import Metrics

Stats = dict[str, Any]

_STATS: Final = "stats.json"
_FAILED: Final = "failed.json"
_FULL: Final = (f"[Errno {errno.ENOSPC}]", os.strerror(errno.ENOSPC))
_LONG_SECONDS: Final = 5
_log = logging.getLogger("pipelines.ExampleGen")


@dataclass(frozen=True)
class Task(ABC):
    """A piece of work.

    Args:
        phase: The folder of all tasks of its step.
        number: Its number among them.
        buckets: How many tasks of the next step read what it makes.
        sources: The folders that it reads, of a task that another step leads to.
    """

    phase: str
    number: int = 0
    buckets: int = 1
    sources: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where what it makes lies."""
        return Path(self.phase) / f"{self.number:05d}"

    @abstractmethod
    def make(self, folder: Path) -> Stats:
        """Fills the folder.

        Returns:
            Counts and whatever else the driver needs, as JSON; those under ``counters`` are
            counted by Beam too.
        """

    @property
    def stats(self) -> Stats:
        """What ``make`` returned."""
        stats: Stats = json.loads((self.folder / _STATS).read_text(encoding="utf-8"))
        return stats

    @property
    def done(self) -> bool:
        """Whether its folder is there."""
        return self.folder.is_dir()


class RunTask(beam.DoFn):
    """Tasks -> (bucket of the next step, folder); holds what the task holds."""

    def process(self, element: Task) -> Iterator[tuple[int, str]]:
        """Does the task, unless that was done before."""
        if not element.done:
            try:
                counters = _make(element)
            except IdpError as error:
                _note_failure(element, error)
                raise
            for name, count in counters.items():
                Metrics.counter("ExampleGen", name).inc(count)
        for bucket in range(element.buckets):
            yield bucket, str(element.folder)


class NextTask(beam.DoFn):
    """(bucket, folders) -> the bucket's task; holds the names of the folders."""

    def __init__(self, template: Task):
        self.template = template

    def process(self, element: tuple[int, Any]) -> Iterator[Task]:
        """Numbers a copy of the template by the bucket."""
        bucket, folders = element
        yield replace(self.template, number=bucket, sources=tuple(sorted(folders)))


def run_tasks(
    tasks: Sequence[Task], *following: tuple[Task, int], beam_args: Sequence[str] = ()
) -> list[list[Stats]]:
    """Runs a step, and those that are made of what it made, as one Beam pipeline.

    Args:
        tasks: The tasks of the first step.
        following: A template for each next step, and how many tasks it has.
        beam_args: Options for Beam.

    Returns:
        What the tasks of each step returned, in the order of their numbers.

    Raises:
        IdpError: whatever a task raised.
        OSError: if a disk was full.
    """
    steps = [[*tasks], *([replace(t, number=i) for i in range(n)] for t, n in following)]
    name = " and ".join(sorted({Path(task.phase).name for step in steps for task in step}))
    if all(task.done for task in steps[-1]):
        _log.debug("%s: done before", name)
    else:
        began = time.monotonic()
        _log.debug("%s: begins", name)
        _run(tasks, [template for template, _ in following], beam_args)
        took = time.monotonic() - began
        level = logging.INFO if took > _LONG_SECONDS else logging.DEBUG
        _log.log(level, "%s: took %.0f s", name, took)
    return [[task.stats for task in step] for step in steps]


def _run(tasks: Sequence[Task], templates: Sequence[Task], beam_args: Sequence[str]) -> None:
    phases = sorted({Path(task.phase) for task in (*tasks, *templates)})
    for phase in phases:
        phase.mkdir(parents=True, exist_ok=True)
        (phase / _FAILED).unlink(missing_ok=True)
    pipeline = build_pipeline(beam_args)
    found = pipeline | "Tasks" >> beam.Create(list(tasks), reshuffle=False) | beam.Reshuffle()
    found = found | Path(tasks[0].phase).name >> beam.ParDo(RunTask())
    for template in templates:
        name = Path(template.phase).name
        found = (
            found
            | f"Collect for {name}" >> beam.GroupByKey()
            | f"Task of {name}" >> beam.ParDo(NextTask(template))
            | name >> beam.ParDo(RunTask())
        )
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:
        raise _cause(phases, error) from error


def _make(task: Task) -> Mapping[str, int]:
    """Makes a task's folder under another name, which it then loses."""
    phase = Path(task.phase)
    fresh = Path(tempfile.mkdtemp(prefix=f".{task.folder.name}-", dir=phase))
    try:
        fresh.chmod(0o755)  # mkdtemp shuts others out
        stats = task.make(fresh)
        (fresh / _STATS).write_text(json.dumps(stats), encoding="utf-8")
        os.replace(fresh, task.folder)
    except OSError:
        if not task.done:  # else another worker was faster
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    counters: Mapping[str, int] = task.stats.get("counters", {})
    return counters


def _note_failure(task: Task, error: IdpError) -> None:
    """Leaves an error where the driver finds it: what Beam raises is only a text."""
    said = {
        "error": type(error).__name__,
        "problem": error.problem,
        "where": None if error.where is None else str(error.where),
        "remedy": error.remedy,
    }
    (Path(task.phase) / _FAILED).write_text(json.dumps(said), encoding="utf-8")


def _cause(phases: Sequence[Path], error: Exception) -> Exception:
    for phase in phases:
        if (phase / _FAILED).is_file():
            said = json.loads((phase / _FAILED).read_text(encoding="utf-8"))
            kind = getattr(errors, said["error"])
            if kind in (errors.RowError, errors.MissingDependencyError):
                kind = errors.DataError  # those are made of other arguments
            made: IdpError = kind(said["problem"], where=said["where"], remedy=said["remedy"])
            return made
    if any(sign in str(error) for sign in _FULL):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(phases[0]))
    return error
