"""What an experiment is, and how one is run: as main jobs over one workdir."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from idp_tf.config import load_settings
from idp_tf.errors import SettingsError
from idp_tf.workflow import run_all
from idp_tf.workflow.artifacts import write_json
from idp_tf.workflow.result_table import format_results
from idp_tf.workflow.run import Run, RunConfig

EXPERIMENTS: Final = (
    "table2",
    "table3",
    "table4",
    "table5",
    "table6",
    "table7",
    "figure4",
    "table8",
    "table9",
)

SOURCES: Final = ("grocery", "home", "movies", "books", "electronics")
TARGETS: Final = ("office", "toys")
FLOORS: Final = ("popularity", "nearest-title")


@dataclass(frozen=True)
class Experiment:
    """One table or figure.

    Args:
        name: Its name on the command line.
        question: What it answers.
        systems: What is compared, by slug.
        sources: Source domains, unless others are named.
        targets: Target domains, unless others are named.
    """

    name: str
    question: str
    systems: tuple[str, ...]
    sources: tuple[str, ...] = SOURCES
    targets: tuple[str, ...] = TARGETS


def load_experiment(name: str) -> Experiment:
    """An experiment by its name.

    Raises:
        SettingsError: if there is none of that name.
    """
    if name not in EXPERIMENTS:
        raise SettingsError(
            f"unknown experiment {name!r}", remedy=f"known: {', '.join(EXPERIMENTS)}"
        )
    module = importlib.import_module(f"idp_tf.experiments.{name}")
    experiment = module.EXPERIMENT
    assert isinstance(experiment, Experiment)
    return experiment


def run_experiment(
    name: str,
    *,
    data: Path,
    workdir: Path,
    preset: str = "standard",
    seeds: int = 3,
    sources: tuple[str, ...] | None = None,
    targets: tuple[str, ...] | None = None,
    overrides: Sequence[str] = (),
    tune: bool = False,
    rebuild: bool = False,
) -> dict[str, Any]:
    """Runs an experiment; what the workdir holds already is reused.

    Writes ``experiments/<name>.json`` with the results and their significance, and
    prints a table for each target.

    Args:
        name: One of ``EXPERIMENTS``.
        data: The folder of the raw domains.
        workdir: The workdir, shared with ``idp-tf run``.
        preset: ``quick``, ``standard`` or ``paper``.
        seeds: Fine-tuning seeds; pre-training and matcher have the first.
        sources: Source domains instead of the experiment's own.
        targets: Target domains instead of the experiment's own.
        overrides: Settings as ``key=value``.
        tune: Search for learning rates (``load_settings``).
        rebuild: Make anew what other settings made.
    """
    experiment = load_experiment(name)
    settings = load_settings(
        preset,
        overrides=overrides,
        tune=tune,
        systems=experiment.systems,
        fine_tune_seeds=seeds,
    )
    results: list[Mapping[str, Any]] = []
    significance: list[Mapping[str, Any]] = []
    for target in targets or experiment.targets:
        config = RunConfig(
            data=data.resolve(),
            sources=sources or experiment.sources,
            target=target,
            settings=settings,
        )
        report = run_all(Run(workdir, config, rebuild=rebuild))
        results += [row for row in report["results"] if row["domain"] == target]
        significance += [row for row in report["significance"] if row["domain"] == target]
        print(format_results(report, target))
    outcome = {
        "experiment": asdict(experiment),
        "settings": settings.model_dump(mode="json"),
        "results": results,
        "significance": significance,
    }
    folder = workdir / "experiments"
    folder.mkdir(exist_ok=True)
    write_json(folder / f"{name}.json", outcome)
    return outcome
