"""Stage 8: ``report.json`` and ``report.html``, over every target of the workdir."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from idp_tf.evaluation.results import ResultRow, result_row
from idp_tf.evaluation.significance import compare_systems
from idp_tf.models.training import MONITOR
from idp_tf.models.unisrec_pretraining import MAX_ROWS
from idp_tf.systems import IDP_INNER, NEAREST_TITLE, SYSTEMS, System
from idp_tf.workflow.artifacts import DONE_FILE, read_json, write_json
from idp_tf.workflow.evaluate import (
    count_openings,
    evaluated,
    evaluation_artifact,
    load_ranks,
    protocols,
)
from idp_tf.workflow.fine_tune import seeds_of
from idp_tf.workflow.making import made_artifact, training_artifact
from idp_tf.workflow.match import matcher_artifact
from idp_tf.workflow.needs import needed_bases, needs_matcher, systems_of
from idp_tf.workflow.prepare import load_sources, load_target
from idp_tf.workflow.pretrain import pretrain_artifact
from idp_tf.workflow.recformer import recformer_base_artifact, recformer_caps
from idp_tf.workflow.report_page import write_report_page
from idp_tf.workflow.run import Run
from idp_tf.workflow.scores import COLD
from idp_tf.workflow.target_settings import settings_notes
from idp_tf.workflow.transfer import transfer_artifact
from idp_tf.workflow.twins import Ranks, compare_twins

REPORT_JSON = "report.json"
REPORT_PAGE = "report.html"
COMPARED_METRICS = ("NDCG@5", "NDCG@10")
_TARGET_REPORT = "target_report.json"
_MATCHED_ITEMS = 12

NOTES = (
    "The sources' behaviour later than a target user's test item is not cut: many time stamps "
    "are ordinal, so it cannot be told apart.",
    "p values are of two-sided paired t-tests over users, of each user's mean over seeds; they are "
    "not corrected for the number of comparisons.",
    "A seed covers initial weights, dropout, data order and training negatives of a target model; "
    "pre-training and matcher have the run's first seed.",
)


def write_report(run: Run) -> dict[str, Any]:
    """Collects what the run's target has shown, and writes the workdir's report."""
    write_json(run.target_dir / _TARGET_REPORT, _target_report(run))
    # Before other targets' artifacts are asked for, which are none of this run.
    stages = _stages(run)
    targets, left_out = _targets(run)
    configs = {target["domain"]: target["config"] for target in targets if "config" in target}
    report = {
        "config": run.config.model_dump(mode="json"),
        "configs": configs,
        "demonstration": run.config.demonstration,
        "domains": {
            **{domain.name: domain.manifest for domain in load_sources(run).domains},
            **{target["domain"]: target["manifest"] for target in targets},
        },
        "results": [row for target in targets for row in target["results"]],
        "significance": [row for target in targets for row in target["significance"]],
        # An older target_report.json has neither of these two.
        "twins": [row for target in targets for row in target.get("twins", [])],
        "tuning": {target["domain"]: target.get("tuning", []) for target in targets},
        "curves": {
            **_base_curves(run),
            **{name: curve for target in targets for name, curve in target["curves"].items()},
        },
        "matcher": _matcher(run) if needs_matcher(run) else None,
        "matches": {target["domain"]: target["matches"] for target in targets},
        "transfer": {t["domain"]: t["transfer"] for t in targets if t["transfer"]},
        "test_openings": {target["domain"]: target["test_openings"] for target in targets},
        "stages": stages,
        "notes": [*NOTES, *_caps(run), *left_out, *settings_notes(configs)],
    }
    write_json(run.workdir / REPORT_JSON, report)
    write_report_page(report, run.workdir / REPORT_PAGE)
    return report


def _stages(run: Run) -> list[dict[str, Any]]:
    return [
        {
            "name": artifact.name,
            "seconds": artifact.summary["seconds"],
            "reused": not artifact.made_here,
        }
        for artifact in run.artifacts.values()
        if (artifact.folder / DONE_FILE).is_file()
    ]


def _targets(run: Run) -> tuple[list[dict[str, Any]], list[str]]:
    """What each target of the workdir has shown, and a note on each that is out of date."""
    found = [read_json(file) for file in sorted(run.workdir.glob(f"target/*/{_TARGET_REPORT}"))]
    # The target of this run comes first: it is what its user looks for.
    found.sort(key=lambda target: target["domain"] != run.config.target)
    now = _made_from(run, SYSTEMS.values(), matcher=True)
    stale = [
        target
        for target in found
        if any(now.get(name) != key for name, key in target.get("made_from", {}).items())
    ]
    return [target for target in found if target not in stale], [
        f"The target {target['domain']} is left out: its results come from another pre-training "
        "or matcher than those that are here now. Run it again."
        for target in stale
    ]


def _caps(run: Run) -> list[str]:
    """What is capped of the systems of this run."""
    systems = systems_of(run)
    caps = []
    if any(system.kind == "recformer" for system in systems):
        caps.append(recformer_caps(run))
    if any(system.base is not None and system.base.slug == "unisrec" for system in systems):
        caps.append(
            f"UniSRec's pre-training draws at most {MAX_ROWS:,} positions of each batch of "
            f"{run.settings.pretrain.batch_size} users, since its loss compares all with all; "
            "targets_per_epoch counts those that are left out too."
        )
    return caps


def _made_from(run: Run, systems: Iterable[System], *, matcher: bool) -> dict[str, str]:
    """The keys of what targets of one workdir share, as this run would make it."""
    shared = [
        recformer_base_artifact(run)
        if system.kind == "recformer"
        else pretrain_artifact(run, system.base)
        for system in systems
        if system.base is not None
    ]
    if matcher:
        shared.append(matcher_artifact(run))
    return {artifact.name: artifact.key for artifact in shared}


def _target_report(run: Run) -> dict[str, Any]:
    ranks = _ranks(run)
    return {
        "domain": run.config.target,
        "config": run.config.model_dump(mode="json"),
        "made_from": _made_from(run, systems_of(run), matcher=needs_matcher(run)),
        "manifest": load_target(run).manifest,
        "results": list(_results(run)),
        "significance": list(_significance(run, ranks)),
        "twins": compare_twins(
            {name: ranks.get(name, {}) for name in protocols(run)},
            domain=run.config.target,
            metrics=COMPARED_METRICS,
        ),
        "tuning": list(_tuning(run)),
        "curves": _curves(run),
        "matches": _matches(run) if needs_matcher(run) else [],
        "transfer": _transfer(run) if needs_matcher(run) else None,
        "test_openings": count_openings(run.target_dir),
    }


def _matcher(run: Run) -> dict[str, Any]:
    return {
        **_without_seconds(matcher_artifact(run).summary),
        "min_interactions": run.settings.matcher.min_interactions,
    }


def _transfer(run: Run) -> dict[str, Any]:
    return _without_seconds(transfer_artifact(run).summary)


def _without_seconds(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if name != "seconds"}


def _results(run: Run) -> Iterator[ResultRow]:
    for slug, seed in evaluated(run):
        artifact = evaluation_artifact(run, slug, seed)
        seconds = artifact.summary["seconds"]
        if SYSTEMS[slug].kind != "floor":
            seconds += made_artifact(run, SYSTEMS[slug], seed).summary["seconds"]
        for protocol, ranks in load_ranks(run, slug, seed).items():
            yield result_row(
                ranks,
                system=slug,
                domain=run.config.target,
                protocol=protocol,
                seed=seed,
                seconds=round(seconds, 2),
            )


def _ranks(run: Run) -> Ranks:
    """The test ranks of every system, (seeds, users), by each protocol that it has."""
    found: dict[str, dict[str, npt.NDArray[np.int32]]] = {}
    for slug in run.settings.systems:
        seeds = [load_ranks(run, slug, seed) for seed in seeds_of(run, slug)]
        for protocol in seeds[0]:
            found.setdefault(protocol, {})[slug] = np.stack([ranks[protocol] for ranks in seeds])
    return found


def _significance(run: Run, ranks: Ranks) -> Iterator[Any]:
    """IDP against all others, all against the control, and zero-shot ones against titles."""
    slugs = run.settings.systems
    pairs = [("idp", other) for other in slugs if other != "idp" and "idp" in slugs]
    if "sasrec" in slugs:
        pairs += [(other, "sasrec") for other in slugs if other not in ("idp", "sasrec")]
    if NEAREST_TITLE in slugs:
        untrained = [s.slug for s in systems_of(run) if s.kind == "sequence" and not s.trained]
        pairs += [(slug, NEAREST_TITLE) for slug in untrained]
    pairs = [pair for pair in pairs if IDP_INNER not in pair]
    cold = [(IDP_INNER, other) for other in slugs if other != IDP_INNER and IDP_INNER in slugs]
    for name in protocols(run):
        for protocol, compared in ((name, pairs), (f"{name}{COLD}", cold)):
            yield from compare_systems(
                ranks.get(protocol, {}),
                compared,
                domain=run.config.target,
                protocol=protocol,
                metrics=COMPARED_METRICS,
            )


def _base_curves(run: Run) -> dict[str, dict[str, list[float]]]:
    artifacts = [pretrain_artifact(run, base) for base in needed_bases(run)]
    return {artifact.name: _curve(artifact.summary) for artifact in artifacts}


def _tuning(run: Run) -> Iterator[dict[str, Any]]:
    """Each system's search for its learning rate, where there was one."""
    for slug, seed in evaluated(run):
        if SYSTEMS[slug].trained:
            summary = made_artifact(run, SYSTEMS[slug], seed).summary
            if trials := summary.get("trials"):
                chosen = summary["learning_rate"]
                yield {"system": slug, "seed": seed, "chosen": chosen, "trials": trials}


def _curves(run: Run) -> dict[str, dict[str, list[float]]]:
    curves = {}
    for slug, seed in evaluated(run):
        if SYSTEMS[slug].trained:
            summary = training_artifact(run, SYSTEMS[slug], seed).summary
            curves[f"{run.config.target}: {slug}, seed {seed}"] = _curve(summary)
    return curves


def _curve(summary: dict[str, Any]) -> dict[str, list[float]]:
    history = summary["history"]
    return {
        "epoch": list(range(1, summary["epoch"] + 1)),
        "loss": history["loss"],
        MONITOR: history[MONITOR],
    }


def _matches(run: Run) -> list[dict[str, Any]]:
    """The matches of some target items, spread evenly over the file."""
    file = run.target_dir / "matches.parquet"
    with transfer_artifact(run).reading(file):
        table = pl.read_parquet(file)
    items = table["target_item"].unique(maintain_order=True)
    step = max(1, len(items) // _MATCHED_ITEMS)
    shown = []
    for item in items.gather_every(step).head(_MATCHED_ITEMS):
        rows = table.filter(pl.col("target_item") == item)
        shown.append(
            {
                "target_title": rows["target_title"][0],
                "matches": rows.select(
                    "source_title", "source_domain", "score", "weight"
                ).to_dicts(),
            }
        )
    return shown
