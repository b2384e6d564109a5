"""Stage 6: each system meets the test items, once, in ``target/<domain>/evaluation/``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from idp_tf.data.domain import Domain
from idp_tf.evaluation.floors import nearest_title_scorer, popularity_scorer
from idp_tf.evaluation.negatives import sample_negatives
from idp_tf.evaluation.protocol import FULL, SAMPLED_PREFIX, evaluate
from idp_tf.evaluation.ranking import Scorer
from idp_tf.metrics import summarize
from idp_tf.systems import IDP_INNER, NEAREST_TITLE, POPULARITY, SYSTEMS
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.fine_tune import seeds_of
from idp_tf.workflow.inner import cold_users
from idp_tf.workflow.making import load_made, made_artifact
from idp_tf.workflow.prepare import data_key, load_target
from idp_tf.workflow.run import Run
from idp_tf.workflow.scores import COLD
from idp_tf.workflow.titles import load_title_vectors, titles_artifact

OPENINGS_FILE = "test_openings.jsonl"
Int32Array = npt.NDArray[np.int32]

# Validation draws its negatives with the run's own seed; the test must draw others.
_TEST_SEED = 1_000_003

# Raised when the same inputs would make something else.
_FORMAT = 1


def evaluate_all(run: Run) -> None:
    """Ranks the test item of every user by every system and seed, in both protocols."""
    run.config.check()
    target = load_target(run)
    negatives: Int32Array | None = None
    for slug, seed in evaluated(run):
        artifact = evaluation_artifact(run, slug, seed)
        if artifact.open(rebuild=run.rebuild):
            continue
        if negatives is None:
            negatives = _test_negatives(run, target)
        scorer = _scorer(run, target, slug, seed)
        # Before the test items are looked at: a run that is killed then has looked, too.
        _note_opening(run, slug, seed, artifact.key)
        users = users_of(run, slug)
        ranks = evaluate(
            scorer,
            target.sequences,
            split="test",
            num_items=target.num_items,
            protocols=protocols(run),
            negatives=negatives[users],
            users=users,
        )
        np.savez_compressed(artifact.folder / "ranks.npz", **ranks)  # type: ignore[arg-type]
        artifact.finish(
            users=len(users),
            metrics={protocol: summarize(found) for protocol, found in ranks.items()},
        )


def protocols(run: Run) -> tuple[str, str]:
    """The names of the two protocols."""
    return f"{SAMPLED_PREFIX}{run.settings.evaluation.negatives}", FULL


def users_of(run: Run, slug: str) -> npt.NDArray[np.int64]:
    """The users whom a system is evaluated on, (n,): all, but for idp-inner."""
    if slug == IDP_INNER:
        return cold_users(run)
    return np.arange(load_target(run).sequences.num_users)


def evaluated(run: Run) -> Iterator[tuple[str, int]]:
    """Each system and seed of this run."""
    for slug in run.settings.systems:
        for seed in seeds_of(run, slug):
            yield slug, seed


def evaluation_artifact(run: Run, slug: str, seed: int) -> Artifact:
    """The artifact of one system's evaluation."""
    inputs: dict[str, Any] = {
        "format": _FORMAT,
        "target": data_key(run, run.config.target),
        "negatives": run.settings.evaluation.negatives,
        "negatives_seed": run.settings.seed,
    }
    if SYSTEMS[slug].kind != "floor":
        inputs["model"] = made_artifact(run, SYSTEMS[slug], seed).key
    elif slug == NEAREST_TITLE:
        inputs["titles"] = titles_artifact(run, run.config.target).key
    folder = run.target_dir / "evaluation" / slug / f"seed-{seed}"
    return run.artifact(folder, f"evaluation of {slug}, seed {seed}", inputs)


def load_ranks(run: Run, slug: str, seed: int) -> dict[str, Int32Array]:
    """The test ranks of every user by each protocol, each (num_users,).

    Where the run has idp-inner, there are also those of the users whose test item is cold, by
    protocols of their own; idp-inner has these alone.
    """
    artifact = evaluation_artifact(run, slug, seed)
    artifact.require()
    file = artifact.folder / "ranks.npz"
    with artifact.reading(file), np.load(file) as stored:
        ranks = {name: stored[name] for name in stored.files}
    if IDP_INNER not in run.settings.systems:
        return ranks
    if slug == IDP_INNER:
        return {f"{name}{COLD}": found for name, found in ranks.items()}
    users = cold_users(run)
    return ranks | {f"{name}{COLD}": found[users] for name, found in ranks.items()}


def count_openings(target_dir: Path) -> dict[str, int]:
    """How many configurations of each system have met the test items of a target."""
    file = target_dir / OPENINGS_FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    keys = {(entry["system"], entry["seed"], entry["key"]) for entry in map(json.loads, lines)}
    counts: dict[str, int] = {}
    for system, _, _ in sorted(keys):
        counts[system] = counts.get(system, 0) + 1
    return counts


def _note_opening(run: Run, slug: str, seed: int, key: str) -> None:
    with (run.target_dir / OPENINGS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"system": slug, "seed": seed, "key": key}) + "\n")


def _test_negatives(run: Run, target: Domain) -> Int32Array:
    return sample_negatives(
        target.sequences,
        target.num_items,
        run.settings.evaluation.negatives,
        run.settings.seed + _TEST_SEED,
    )


def _scorer(run: Run, target: Domain, slug: str, seed: int) -> Scorer:
    if slug == POPULARITY:
        return popularity_scorer(target.sequences, target.num_items)
    if slug == NEAREST_TITLE:
        return nearest_title_scorer(load_title_vectors(run, target.name))
    return load_made(run, SYSTEMS[slug], seed)
