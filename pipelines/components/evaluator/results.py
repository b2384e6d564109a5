"""What an evaluation has found: means, intervals and paired differences of every slice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from idp_tf.metrics import METRIC_NAMES
from pipelines.components.evaluator.models import BASELINE, CONTROL, MODEL
from pipelines.components.evaluator.parameters import EvaluatorParameters
from pipelines.components.evaluator.ranking import ScopeItems
from pipelines.components.evaluator.slicing import (
    ALL_USERS,
    DIMENSIONS,
    OVERALL,
    Slice,
    slice_order,
)
from pipelines.components.evaluator.sums import Estimate, MetricSums

WHOLE: Final = Slice(OVERALL, ALL_USERS)

RULE: Final = (
    "The model and its control rank the whole catalogue. The baseline is compared with the model "
    "on the items that both know: they are the candidates, and users whose test item is new to "
    "the baseline are left out of that comparison and stand as the slice item_novelty: new. "
    "Negatives, candidates and users are the same for all models of a comparison."
)


@dataclass(frozen=True)
class Row:
    """One slice by one protocol over one scope's items.

    Args:
        scope: The candidates, and who ranked them.
        protocol: ``full`` or ``sampled-n``.
        slice: The slice.
        sums: Of its users.
    """

    scope: ScopeItems
    protocol: str
    slice: Slice
    sums: MetricSums

    def of(self, system: str, metric: str) -> Estimate:
        """A system's own value."""
        return self.sums.estimate(self.scope.systems.index(system), metric)

    def difference(self, other: str, metric: str) -> Estimate:
        """The model minus another system, paired by user."""
        place = self.scope.systems.index(other)
        return self.sums.estimate(len(self.scope.systems) - 1 + place, metric)


@dataclass(frozen=True)
class Results:
    """Everything that was found.

    Args:
        rows: In the order in which they are shown.
    """

    rows: Sequence[Row]

    @classmethod
    def of(
        cls,
        sums: Mapping[tuple[str, str, str, str], MetricSums],
        scopes: Sequence[ScopeItems],
        parameters: EvaluatorParameters,
    ) -> Results:
        """Puts the sums of all slices in order."""
        by_name = {scope.name: scope for scope in scopes}
        rows = [
            Row(by_name[scope], protocol, Slice(dimension, name), found)
            for (scope, protocol, dimension, name), found in sums.items()
        ]
        dimensions = (OVERALL, *DIMENSIONS)

        def place(row: Row) -> tuple[Any, ...]:
            edges = parameters.history_edges, parameters.popularity_edges
            return (
                list(by_name).index(row.scope.name),
                row.protocol,
                dimensions.index(row.slice.dimension),
                slice_order(row.slice, *edges),
            )

        return cls(sorted(rows, key=place))

    @property
    def users(self) -> int:
        """How many users were evaluated."""
        return max((row.sums.users for row in self.rows), default=0)

    def comparing(self, other: str, protocol: str) -> list[Row]:
        """The rows that compare the model with another system by a protocol; none if none do."""
        return [
            row
            for row in self.rows
            if row.protocol == protocol
            and other in row.scope.systems
            and row.scope is self._last_scope(other)
        ]

    def overall(self, other: str, protocol: str) -> Row | None:
        """All users of such a comparison; of ``model`` itself those of the whole catalogue."""
        rows = self.comparing(other, protocol)
        return next((row for row in rows if row.slice == WHOLE), None)

    def _last_scope(self, other: str) -> ScopeItems | None:
        # The model ranks in every scope; its own figures are those of the whole catalogue.
        return next((row.scope for row in self.rows if other in row.scope.systems), None)

    def metrics_json(self) -> dict[str, Any]:
        """``metrics.json`` without what it says of the catalogue."""
        systems = [name for name in (MODEL, CONTROL, BASELINE) if self._last_scope(name)]
        others = [name for name in systems if name != MODEL]
        return {
            **{name: _of_system(self.rows, name) for name in systems},
            **({} if BASELINE in systems else {BASELINE: None}),
            "differences": {
                **{name: _of_difference(self.rows, name) for name in others},
                **({} if BASELINE in systems else {BASELINE: None}),
            },
        }

    def table(self) -> Iterator[dict[str, Any]]:
        """Rows of ``slices.parquet``."""
        for row in self.rows:
            place = {
                "items": row.scope.name,
                "protocol": row.protocol,
                "dimension": row.slice.dimension,
                "slice": row.slice.name,
                "users": row.sums.users,
            }
            for metric in METRIC_NAMES:
                for system in row.scope.systems:
                    yield place | _line(system, metric, row.of(system, metric), tested=False)
                for other in row.scope.systems[1:]:
                    found = row.difference(other, metric)
                    yield place | _line(f"{MODEL} - {other}", metric, found, tested=True)


def _of_system(rows: Sequence[Row], name: str) -> dict[str, Any]:
    def told(row: Row) -> dict[str, Any]:
        found = {metric: row.of(name, metric) for metric in METRIC_NAMES}
        return {
            "users": row.sums.users,
            "metrics": {metric: estimate.mean for metric, estimate in found.items()},
            "ci95": {metric: _pair(estimate) for metric, estimate in found.items()},
        }

    return _nested([row for row in rows if name in row.scope.systems], told)


def _of_difference(rows: Sequence[Row], other: str) -> dict[str, Any]:
    def told(row: Row) -> dict[str, Any]:
        found = {metric: row.difference(other, metric) for metric in METRIC_NAMES}
        return {
            "users": row.sums.users,
            "metrics": {
                metric: {
                    MODEL: row.of(MODEL, metric).mean,
                    other: row.of(other, metric).mean,
                    "mean": estimate.mean,
                    "ci95": _pair(estimate),
                    "p": _number(estimate.p),
                }
                for metric, estimate in found.items()
            },
        }

    return _nested([row for row in rows if other in row.scope.systems], told)


def _nested(rows: Sequence[Row], told: Any) -> dict[str, Any]:
    first = rows[0].scope.name if rows else ""
    return {
        "items": first,
        "overall": {
            row.protocol: told(row)
            for row in rows
            if row.slice == WHOLE and row.scope.name == first
        },
        "slices": [
            {
                "items": row.scope.name,
                "protocol": row.protocol,
                "dimension": row.slice.dimension,
                "slice": row.slice.name,
                **told(row),
            }
            for row in rows
            if row.slice != WHOLE or row.scope.name != first
        ],
    }


def _line(system: str, metric: str, found: Estimate, *, tested: bool) -> dict[str, Any]:
    low, high = found.interval()
    return {
        "system": system,
        "metric": metric,
        "value": found.mean,
        "ci95_low": _number(low),
        "ci95_high": _number(high),
        "p": _number(found.p) if tested else None,
    }


def _pair(found: Estimate) -> list[float] | None:
    """Strict JSON has no NaN, which an interval of fewer than two users is."""
    low, high = found.interval()
    return None if math.isnan(low) else [low, high]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
