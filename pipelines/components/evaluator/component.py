"""The component Evaluator."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from idp_tf.data.examples import read_items
from idp_tf.data.schema import IdMap
from idp_tf.errors import DataError, IdpError
from idp_tf.workflow.artifacts import write_json
from pipelines import artifacts
from pipelines.component import Component, Execution
from pipelines.components.evaluator.blessing import check_results
from pipelines.components.evaluator.models import (
    BASELINE,
    CONTROL,
    MODEL,
    check_covers,
)
from pipelines.components.evaluator.parameters import EvaluatorParameters
from pipelines.components.evaluator.ranking import plan_scopes
from pipelines.components.evaluator.results import RULE, Results
from pipelines.components.verdict import BLESSED, NOT_BLESSED, write_verdict
from pipelines.examples import split_pattern
from pipelines.model_files import ModelFiles

METRICS_FILE: Final = "metrics.json"
SLICES_FILE: Final = "slices.parquet"
PLOT_FILE: Final = "slices.svg"

_OWN_ERROR: Final = re.compile(r"(RuntimeError: )?idp_tf\.errors\.\w+: ")

_LOG = logging.getLogger("pipelines.Evaluator")


class Evaluator(Component[EvaluatorParameters]):
    """Ranks every user's test item by the model and by those it has to stand up to.

    Both protocols of ``idp_tf.evaluation``: among sampled negatives that the user never touched
    (drawn by the user's id, so the same for every model, worker and runner), and among the
    whole catalogue without what the user has seen; ties count against a model. Metrics are
    summed by slices: all users, domain, length of the history, popularity of the test item in
    training, cold or warm item, and items that are new since the baseline. The baseline is the
    last blessed model; where the catalogue has grown since, it is compared on the items that it
    knows (``results.RULE``).

    Inputs: ``examples`` and ``items`` of the target, the ``model``, and its ``control``, trained
    from scratch. Resolved: ``baseline_model``, the last blessed one; none at the first run,
    which the reasons then say.

    Outputs::

        evaluation/metrics.json     {"model": {"overall": {protocol: {"users", "metrics", "ci95"}},
                                    "slices": [...]}, "control": …, "baseline": … or null,
                                    "differences": {"control": …, "baseline": …}, "catalogue": …}
        evaluation/slices.parquet   a row a slice, protocol, system (or difference) and metric
        evaluation/slices.svg       the same for people
        blessing/BLESSED            or NOT_BLESSED, an empty file
        blessing/reasons.json       every check: name, value, threshold, passed, in words

    Raises:
        DataError: if a model does not know the items, or the examples do not fit them.
        MissingDataError: if an artifact is not whole.
    """

    name = "Evaluator"
    inputs: ClassVar[Mapping[str, str]] = {
        "examples": artifacts.EXAMPLES,
        "items": artifacts.ITEMS,
        "model": artifacts.MODEL,
        "control": artifacts.MODEL,
    }
    resolved: ClassVar[Mapping[str, str]] = {"baseline_model": artifacts.MODEL}
    compared: ClassVar[frozenset[str]] = frozenset({"baseline_model"})
    outputs: ClassVar[Mapping[str, str]] = {
        "evaluation": artifacts.EVALUATION,
        "blessing": artifacts.BLESSING,
    }
    parameters = EvaluatorParameters

    def execute(self, execution: Execution[EvaluatorParameters]) -> None:
        """Evaluates, then judges."""
        ids, _ = read_items([split_pattern(execution.one("items"), "all")])
        catalogue = ids.external_ids
        models = _models(execution)
        items = {model.name: model.read_items() for model in models}
        for model in models:
            if model.name != BASELINE:
                check_covers(items[model.name], catalogue, model)
        results = _ranked(execution, catalogue, models, items.get(BASELINE))
        _write_evaluation(execution, results, _about(catalogue, items, results))
        _write_blessing(execution, results, has_baseline=BASELINE in items)


def _models(execution: Execution[EvaluatorParameters]) -> list[ModelFiles]:
    baseline = execution.maybe("baseline_model")
    return [
        ModelFiles(MODEL, str(execution.one("model").uri)),
        ModelFiles(CONTROL, str(execution.one("control").uri)),
        *([ModelFiles(BASELINE, str(baseline.uri))] if baseline is not None else []),
    ]


def _ranked(
    execution: Execution[EvaluatorParameters],
    catalogue: list[str],
    models: Sequence[ModelFiles],
    baseline: IdMap | None,
) -> Results:
    """The sums of all slices, of an execution that was killed if it got that far."""
    from pipelines.components.evaluator.flow import read_sums

    work = execution.work
    file = work / f"sums-{_key(execution)}.json"
    if not file.is_file():
        work.mkdir(parents=True, exist_ok=True)
        ids = work / "catalogue.json"
        write_json(ids, catalogue)
        _run_pipelines(execution, ids, models, file)
    results = Results.of(read_sums(file), plan_scopes(catalogue, baseline), execution.parameters)
    execution.counters["users"] = results.users
    _check_count(results.users, execution.one("examples"), file)
    return results


def _run_pipelines(
    execution: Execution[EvaluatorParameters], ids: Path, models: Sequence[ModelFiles], file: Path
) -> None:
    from pipelines.components.evaluator.flow import RankingJob, count_training, rank_users

    examples, told = execution.one("examples"), execution.parameters
    counts = execution.work / "counts.npy"
    job = RankingJob(
        examples=split_pattern(examples, "eval"),
        catalogue=str(ids),
        counts=str(counts),
        domain=str(examples.properties.get("domain", "")),
        models=models,
        negatives=told.negatives,
        seed=told.seed,
        block=told.block,
        history_edges=told.history_edges,
        popularity_edges=told.popularity_edges,
    )
    try:
        _LOG.debug("counting the items of the training split")
        count_training(split_pattern(examples, "train"), str(ids), counts, execution.beam_args)
        _LOG.info("ranking by %s", ", ".join(model.name for model in models))
        execution.counters.update(rank_users(job, file, execution.beam_args))
    except IdpError:
        raise
    except Exception as error:
        # Whatever a runner makes of what a worker raised.
        raise DataError(
            f"the examples could not be evaluated: {_told(error)}", where=examples.uri
        ) from error


def _check_count(users: int, examples: artifacts.Artifact, file: Path) -> None:
    """A file that was cut off between two records reads without an error, but short."""
    expected = examples.properties.get("users", users)
    if users == expected and users:
        _LOG.debug("ranked %d users", users)
        return
    file.unlink(missing_ok=True)
    raise DataError(
        f"{users} users were read, the artifact says {expected}",
        where=examples.uri / "Split-eval",
        remedy="let ExampleGen make the examples again",
    )


def _told(error: Exception) -> str:
    """Our own words in what a runner raised, which may hold a worker's traceback as text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [number for number, line in enumerate(lines) if _OWN_ERROR.match(line)]
    if own:
        return _OWN_ERROR.sub("", lines[own[-1]])
    return lines[-1] if lines else type(error).__name__


def _key(execution: Execution[EvaluatorParameters]) -> str:
    """What the sums hang on; the baseline is looked up, and may be another one by now."""
    told: list[Any] = [
        [key, [artifact.fingerprint for artifact in found]]
        for key, found in sorted(execution.inputs.items())
    ]
    told.append(execution.parameters.model_dump(mode="json"))
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _about(
    catalogue: Sequence[str], items: Mapping[str, IdMap], results: Results
) -> dict[str, Any]:
    baseline = items.get(BASELINE)
    known = set(baseline.external_ids) if baseline is not None else set()
    compared = results.overall(BASELINE, results.rows[0].protocol) if baseline else None
    return {
        "items": len(catalogue),
        "baseline_items": None if baseline is None else baseline.size,
        "shared_items": None if baseline is None else sum(item in known for item in catalogue),
        "users": results.users,
        "users_compared_with_baseline": compared.sums.users if compared else 0,
        "rule": RULE,
    }


def _write_evaluation(
    execution: Execution[EvaluatorParameters], results: Results, catalogue: dict[str, Any]
) -> None:
    import polars as pl

    from pipelines.components.evaluator.plot import draw_slices

    output, told = execution.outputs["evaluation"], execution.parameters
    found = {
        **results.metrics_json(),
        "catalogue": catalogue,
        "negatives": told.negatives,
        "seed": told.seed,
    }
    write_json(output.uri / METRICS_FILE, found)
    pl.DataFrame(list(results.table()), infer_schema_length=None).write_parquet(
        output.uri / SLICES_FILE
    )
    (output.uri / PLOT_FILE).write_text(draw_slices(results, told.plotted), encoding="utf-8")
    overall = found[MODEL]["overall"][told.plotted.protocol]
    output.properties.update(
        users=catalogue["users"], items=catalogue["items"], **overall["metrics"]
    )


def _write_blessing(
    execution: Execution[EvaluatorParameters], results: Results, *, has_baseline: bool
) -> None:
    output = execution.outputs["blessing"]
    checks = check_results(results, execution.parameters, has_baseline=has_baseline)
    notes = [RULE] if has_baseline else ["The first run: no blessed model to compare with yet."]
    blessed = write_verdict(output.uri, checks, (BLESSED, NOT_BLESSED), notes)
    output.properties.update(accepted=blessed, model_fingerprint=execution.one("model").fingerprint)
    for check in checks:
        log = _LOG.debug if check.passed else _LOG.warning
        log("%s: %s", "passed" if check.passed else "failed", check.words)
    _LOG.info("the model is %s", BLESSED if blessed else NOT_BLESSED)
