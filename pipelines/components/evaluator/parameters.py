"""What an evaluation can be told, its thresholds above all."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from idp_tf.evaluation.protocol import FULL, SAMPLED_PREFIX
from idp_tf.metrics import METRIC_NAMES
from pipelines.component import Parameters
from pipelines.components.evaluator.slicing import DIMENSIONS


class MetricName(Parameters):
    """A metric by a protocol."""

    protocol: str = Field(FULL, description="`full`, or `sampled-99` with as many negatives.")
    metric: str = Field("NDCG@10", description="HR@k or NDCG@k with k of 1, 3, 5, 10, or MRR.")

    @model_validator(mode="after")
    def _is_known(self) -> MetricName:
        if self.metric not in METRIC_NAMES:
            raise ValueError(f"no metric {self.metric!r}; one of {', '.join(METRIC_NAMES)}")
        return self

    def __str__(self) -> str:
        return f"{self.protocol} {self.metric}"


class ValueThreshold(MetricName):
    """The model's own value must reach a least one."""

    min_value: float = Field(description="The least mean over users that passes.")


class DifferenceThreshold(MetricName):
    """The model must not fall behind another one by more than a margin, or must lead by one."""

    against: Literal["baseline", "control"] = Field(description="The other model.")
    min_difference: float = Field(
        description="The least difference, model minus the other, that passes. Negative: a "
        "margin that may be lost (non-inferiority)."
    )
    relative: bool = Field(
        False, description="Whether it is a share of the other model's mean, not a difference."
    )
    confidence: float | None = Field(
        None,
        gt=0.5,
        lt=1,
        description="The one-sided lower bound of this confidence must reach it; none takes the "
        "mean as it is.",
    )


class SliceGuard(MetricName):
    """No slice may be significantly worse than another model by more than a margin."""

    against: Literal["baseline", "control"] = Field("baseline", description="The other model.")
    dimensions: tuple[str, ...] = Field(
        ("history_length", "item_popularity"), description=f"Of: {', '.join(DIMENSIONS)}."
    )
    min_difference: float = Field(
        -0.1,
        description="A slice fails where the one-sided upper bound of the difference is below it.",
    )
    relative: bool = Field(True, description="Whether it is a share of the other model's mean.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of that bound.")
    min_users: int = Field(50, ge=2, description="Smaller slices are not judged.")

    @model_validator(mode="after")
    def _are_known(self) -> SliceGuard:
        for dimension in self.dimensions:
            if dimension not in DIMENSIONS:
                raise ValueError(f"no slices by {dimension!r}; one of {', '.join(DIMENSIONS)}")
        return self


class EvaluatorParameters(Parameters):
    """How models are evaluated, and what decides on the blessing."""

    negatives: int = Field(99, ge=1, description="Sampled negatives a user.")
    seed: int = Field(0, ge=0, description="Of the negatives.")
    block: int = Field(
        256, ge=1, description="Users ranked at once: 5 * block * items bytes of scores a worker."
    )
    history_edges: tuple[int, ...] = Field(
        (3, 5, 10, 20, 50), description="Where buckets of the input's length begin."
    )
    popularity_edges: tuple[int, ...] = Field(
        (1, 5, 20, 100), description="Where buckets of the test item's training count begin."
    )
    min_users: int = Field(100, ge=2, description="Fewer users decide nothing: NOT_BLESSED.")
    values: tuple[ValueThreshold, ...] = Field((), description="Least values of the model.")
    differences: tuple[DifferenceThreshold, ...] = Field(
        (
            DifferenceThreshold(
                against="baseline", min_difference=-0.1, relative=True, confidence=0.95
            ),
            DifferenceThreshold(against="control", min_difference=0.0),
        ),
        description="Least differences to the last blessed model and to the control.",
    )
    guards: tuple[SliceGuard, ...] = Field(
        (SliceGuard(),), description="What may not happen to a slice."
    )
    plotted: MetricName = Field(MetricName(), description="What slices.svg draws.")

    @model_validator(mode="after")
    def _fits(self) -> EvaluatorParameters:
        protocols = (FULL, f"{SAMPLED_PREFIX}{self.negatives}")
        for named in (*self.values, *self.differences, *self.guards, self.plotted):
            if named.protocol not in protocols:
                raise ValueError(f"no protocol {named.protocol!r}; one of {', '.join(protocols)}")
        for name in ("history_edges", "popularity_edges"):
            edges = getattr(self, name)
            if not edges or edges[0] < 1 or list(edges) != sorted(set(edges)):
                raise ValueError(f"{name} must rise from 1 or more, got {edges}")
        return self
