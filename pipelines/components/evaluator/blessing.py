"""Whether an evaluation's results will do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pipelines.components.evaluator.models import MODEL
from pipelines.components.evaluator.parameters import (
    DifferenceThreshold,
    EvaluatorParameters,
    SliceGuard,
    ValueThreshold,
)
from pipelines.components.evaluator.results import Results, Row
from pipelines.components.verdict import Check

_OTHERS: Final = {
    "baseline": "the baseline (the last blessed model)",
    "control": "the control (from scratch)",
}


def check_results(
    results: Results, parameters: EvaluatorParameters, *, has_baseline: bool
) -> list[Check]:
    """Every threshold of the parameters against what was found.

    Args:
        results: What was found.
        parameters: The thresholds.
        has_baseline: Whether there is a blessed model to compare with.
    """
    checks = [_enough_users(results, parameters)]
    checks += [_value(results, threshold) for threshold in parameters.values]
    for threshold in parameters.differences:
        checks.append(_difference(results, threshold, parameters.min_users, has_baseline))
    for guard in parameters.guards:
        checks += _guarded(results, guard, has_baseline)
    return checks


def _enough_users(results: Results, parameters: EvaluatorParameters) -> Check:
    users, least = results.users, parameters.min_users
    return Check(
        "users",
        users,
        least,
        users >= least,
        f"{users} users were evaluated; at least {least} are wanted.",
    )


def _value(results: Results, threshold: ValueThreshold) -> Check:
    row = results.overall(MODEL, threshold.protocol)
    name, least = f"{threshold}", threshold.min_value
    if row is None:
        return Check(name, None, least, False, f"{threshold}: no user was evaluated.")
    value = row.of(MODEL, threshold.metric).mean
    words = f"The model's {threshold} is {value:.4f}; at least {least:.4f} is wanted."
    return Check(name, value, least, value >= least, words)


def _difference(
    results: Results, threshold: DifferenceThreshold, min_users: int, has_baseline: bool
) -> Check:
    other, name = threshold.against, f"{threshold} against the {threshold.against}"
    if other == "baseline" and not has_baseline:
        return _first_run(name)
    row = results.overall(other, threshold.protocol)
    users = row.sums.users if row else 0
    if row is None or users < min_users:
        words = (
            f"Only {users} users can be compared with {_OTHERS[other]}, by items that both know; "
            f"at least {min_users} are wanted."
        )
        return Check(name, None, None, False, words)
    least = _margin(row, threshold)
    found = row.difference(other, threshold.metric)
    value, told = found.mean, f"differs by {found.mean:+.4f} on average"
    if threshold.confidence is not None:
        value = found.bound(threshold.confidence)[0]
        told += f", and by at least {value:+.4f} with {threshold.confidence:.0%} confidence"
    words = (
        f"The model's {threshold} ({row.of(MODEL, threshold.metric).mean:.4f}) {told} from that "
        f"of {_OTHERS[other]} ({row.of(other, threshold.metric).mean:.4f}) over {users} users; "
        f"at least {_wanted(threshold, least)} is wanted."
    )
    return Check(name, value, least, value >= least, words)


def _guarded(results: Results, guard: SliceGuard, has_baseline: bool) -> Iterator[Check]:
    other = guard.against
    if other == "baseline" and not has_baseline:
        yield _first_run(f"slices: {guard} against the baseline")
        return
    for row in results.comparing(other, guard.protocol):
        if row.slice.dimension in guard.dimensions:
            yield _guarded_slice(row, guard)


def _guarded_slice(row: Row, guard: SliceGuard) -> Check:
    where = f"{row.slice.dimension} {row.slice.name}"
    name, users = f"{where}: {guard} against the {guard.against}", row.sums.users
    if users < guard.min_users:
        words = f"{where} has {users} users, too few to be judged ({guard.min_users} are wanted)."
        return Check(name, None, None, True, words)
    least = _margin(row, guard)
    found = row.difference(guard.against, guard.metric)
    best = found.bound(guard.confidence)[1]
    words = (
        f"In {where} ({users} users) the model's {guard} differs from that of "
        f"{_OTHERS[guard.against]} by {found.mean:+.4f}, by at most {best:+.4f} with "
        f"{guard.confidence:.0%} confidence; a slice fails where that is below "
        f"{_wanted(guard, least)}."
    )
    return Check(name, best, least, best >= least, words)


def _margin(row: Row, threshold: DifferenceThreshold | SliceGuard) -> float:
    if not threshold.relative:
        return threshold.min_difference
    return threshold.min_difference * row.of(threshold.against, threshold.metric).mean


def _wanted(threshold: DifferenceThreshold | SliceGuard, least: float) -> str:
    share = f" ({threshold.min_difference:+.0%} of it)" if threshold.relative else ""
    return f"{least:+.4f}{share}"


def _first_run(name: str) -> Check:
    words = "There is no blessed model yet, so there is no baseline to compare with."
    return Check(name, None, None, True, words)
