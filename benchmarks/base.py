"""What a benchmark is, how one is run, and what it leaves: a table, and JSON if asked for."""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from idp_tf.errors import IdpError, SettingsError
from idp_tf.machine import thread_counts

BENCHES: Final = (
    "train",
    "train-growth",
    "peak",
    "encode",
    "matcher-fit",
    "match",
    "evaluate",
    "prepare",
    "example-gen",
    "end-to-end",
    "losses",
    "serve",
)
CURVED: Final = ("train-growth", "matcher-fit", "match")
"""Benchmarks that have a curve to draw."""
_PACKAGES: Final = (
    "idp-tf",
    "tensorflow",
    "tf-keras",
    "keras",
    "tensorflow-recommenders",
    "scann",
    "numpy",
    "polars",
)
_DIGITS: Final = 4
ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Goal:
    """One figure that must be reached, as a ratio within one run wherever that can be.

    Args:
        name: What is measured.
        goal: What must be reached, in words.
        value: What was measured.
        met: Whether it was reached.
    """

    name: str
    goal: str
    value: float
    met: bool


@dataclass(frozen=True)
class Curve:
    """Which columns of the rows ``--plot`` draws.

    Args:
        x: The column that grows.
        y: Columns to draw over it, each in a panel of its own.
        only: Rows are drawn where these columns have these values.
    """

    x: str
    y: tuple[str, ...]
    only: Mapping[str, Any] = field(default_factory=dict)

    def has(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is of this curve."""
        columns = (self.x, *self.y)
        return all(row.get(name) == value for name, value in self.only.items()) and all(
            name in row for name in columns
        )


@dataclass(frozen=True)
class BenchResult:
    """What one benchmark measured.

    Args:
        rows: One measurement each, by column.
        goals: What had to be reached. A smoke run has none: it checks no time.
        notes: Sentences that belong below the table.
        curve: What there is to draw, if anything.
    """

    rows: Sequence[Mapping[str, Any]]
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = field(default=())
    curve: Curve | None = None


Bench = Callable[[bool, Path | None], BenchResult]
"""A benchmark: whether it is a smoke run, and the data folder if one is given."""


def run_bench(
    name: str,
    *,
    smoke: bool = False,
    data: Path | None = None,
    json_file: Path | None = None,
    plot_file: Path | None = None,
) -> BenchResult:
    """Runs one benchmark and prints its table.

    Args:
        name: One of ``BENCHES``.
        smoke: Run it small, to see that it works; no goal is judged.
        data: The folder of real domains, for those that use them.
        json_file: Where to write the result as JSON, if anywhere.
        plot_file: Where to draw its curve, if anywhere.

    Raises:
        SettingsError: if there is none of that name, nothing to draw, or no place for a file.
    """
    from benchmarks.plots import check_plot_file, draw_curve

    if name not in BENCHES:
        raise SettingsError(f"unknown benchmark {name!r}", remedy=f"known: {', '.join(BENCHES)}")
    if json_file is not None and not json_file.parent.is_dir():
        raise SettingsError(
            f"there is no folder {json_file.parent}", where="--json", remedy="make it first"
        )
    if plot_file is not None:
        check_plot_file(plot_file)
        if name not in CURVED:
            raise SettingsError(
                f"{name} has no curve to draw",
                where="--plot",
                remedy=f"these have one: {', '.join(CURVED)}",
            )
    module = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
    bench: Bench = module.bench
    result = bench(smoke, data)
    if smoke:
        notes = (*result.notes, "A smoke run; its times say nothing.")
        result = replace(result, goals=(), notes=notes)
    _print(name, result)
    if json_file is not None:
        content = {
            "bench": name,
            "smoke": smoke,
            "machine": describe_machine(),
            "versions": find_versions(),
            "rows": [dict(row) for row in result.rows],
            "targets": [asdict(goal) for goal in result.goals],
            "notes": list(result.notes),
        }
        json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if plot_file is not None and result.curve is not None:
        draw_curve(result.rows, result.curve, f"idp-tf bench {name}", plot_file)
    return result


def run_worker(
    module: str, arguments: Mapping[str, Any], *, threads: int, here: bool = False
) -> Any:
    """Calls ``main(arguments)`` of a module, in a process of its own.

    The thread pools of TensorFlow and BLAS are set once in a process, and memory of one
    measurement must not weigh on the next.

    Args:
        module: A module whose last printed line is JSON when it is run.
        arguments: What ``main`` takes, as JSON.
        threads: Threads that each library may use.
        here: In this process, for a smoke run, which does not care.

    Raises:
        IdpError: if the process failed; the message holds the end of what it said.
    """
    if here:
        return importlib.import_module(module).main(dict(arguments))
    return run_process([sys.executable, "-m", module], arguments, threads)


def run_process(program: Sequence[str], arguments: Mapping[str, Any], threads: int) -> Any:
    """Runs a program with its arguments as one word of JSON; its last line is the answer.

    What it says on stderr is shown if the line begins with two spaces, so that a long
    measurement can say how far it is; libraries' noise does not.

    Raises:
        IdpError: if it failed; the message holds the end of what it said.
    """
    count = str(threads)
    within, between = thread_counts(threads)
    environment = os.environ | {
        "TF_NUM_INTRAOP_THREADS": str(within),
        "TF_NUM_INTEROP_THREADS": str(between),
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    said: list[str] = []
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as answer,
        subprocess.Popen(
            [*program, json.dumps(dict(arguments))],
            stdout=answer,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        ) as process,
    ):
        for line in process.stderr or ():
            said.append(line)
            if line.startswith("  "):
                print(line, end="", file=sys.stderr, flush=True)
        code = process.wait()
        answer.seek(0)
        lines = answer.read().strip().splitlines()
    if code or not lines:
        raise IdpError(
            f"the measurement {' '.join(program)} failed with exit code {code}: "
            + "".join(said).strip()[-2_000:]
        )
    return json.loads(lines[-1])


@contextmanager
def announced(what: str) -> Iterator[None]:
    """Says on stderr when a long measurement begins and how long it took."""
    print(f"{what} …", file=sys.stderr, flush=True)
    begun = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begun:,.0f} s", file=sys.stderr, flush=True)


def describe_machine() -> dict[str, Any]:
    """The processor, how many of its cores this process may use, and memory in GiB."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages * size / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def find_versions() -> dict[str, str]:
    """The versions of what is measured."""
    return {name: metadata.version(name) for name in _PACKAGES}


def _print(name: str, result: BenchResult) -> None:
    console = Console()
    # Rows of other columns get a table of their own: one for all would be too wide to read.
    kinds: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in result.rows:
        kinds.setdefault(tuple(row), []).append(row)
    for columns, rows in kinds.items():
        table = Table(title=f"idp-tf bench {name}")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(_shown(row[column]) for column in columns))
        console.print(table)
    for goal in result.goals:
        verdict = "[green]met[/]" if goal.met else "[red]missed[/]"
        console.print(f"{goal.name}: {_shown(goal.value)}, goal {goal.goal}: {verdict}")
    for note in result.notes:
        console.print(note)


def _shown(value: Any) -> str:
    return f"{value:,.{_DIGITS}g}" if isinstance(value, float) else str(value)
