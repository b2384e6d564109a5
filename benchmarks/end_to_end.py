"""end-to-end: where the time of ``idp-tf run --preset quick`` goes, stage by stage.

Five source domains, the target office, every system of the quick preset, in a fresh workdir
and one process, as a user would run it.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.base import ROOT, BenchResult, Goal
from benchmarks.domains import SMOKE_SETTINGS, find_domains, require_data
from idp_tf.errors import IdpError

LIMIT: Final = 40.0
_KIB: Final = 2**20
_SMOKE: Final = (
    *SMOKE_SETTINGS,
    "fine_tune.epochs=1",
    "matcher.steps=2",
    "systems=[sasrec,idp]",
)


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Runs the main job and reads from its report what each stage took."""
    require_data(data, smoke)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        domains = find_domains(data, folder / "catalogue")
        begun = time.monotonic()
        _run(*domains, folder / "workdir", smoke)
        seconds = time.monotonic() - begun
        report = json.loads((folder / "workdir" / "report.json").read_text())
    rows = sum_up(report["stages"], seconds)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / _KIB
    minutes = seconds / 60
    return BenchResult(
        rows,
        [Goal("minutes in all", f"at most {LIMIT:.0f} on 2 cores", minutes, minutes <= LIMIT)],
        [f"At most {memory:.1f} GiB of memory."],
    )


def _run(data: Path, sources: tuple[str, ...], target: str, workdir: Path, smoke: bool) -> None:
    program = [sys.executable, "-m", "idp_tf.cli", "run", "--preset", "quick"]
    program += ["--data", str(data), "--sources", ",".join(sources), "--target", target]
    program += ["--workdir", str(workdir)]
    program += [word for pair in _SMOKE if smoke for word in ("--set", pair)]
    # What it says on the way goes to stderr, as the user of this benchmark may want to see it.
    done = subprocess.run(program, stdout=subprocess.DEVNULL, cwd=ROOT, check=False)
    if done.returncode:
        raise IdpError(f"{' '.join(program)} failed with exit code {done.returncode}")


def sum_up(stages: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Seconds by kind of stage, in the order of the run; what no stage counts comes last."""
    sums: dict[str, float] = {}
    for stage in stages:
        kind = _kind(stage["name"])
        sums[kind] = sums.get(kind, 0.0) + stage["seconds"]
    sums["start, export, report"] = seconds - sum(sums.values())
    sums["in all"] = seconds
    return [
        {"stage": kind, "seconds": value, "share": value / seconds} for kind, value in sums.items()
    ]


def _kind(stage: str) -> str:
    """Stages are called "data of office", "sasrec, seed 0", "evaluation of sasrec, seed 0"."""
    if stage.startswith(("data of", "evaluation of")):
        return stage.split(" of ")[0]
    return re.sub(r", seed \d+$", "", stage)
