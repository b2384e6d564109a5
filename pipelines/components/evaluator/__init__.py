"""Evaluator: both protocols by slices, against the last blessed model and the control."""

from __future__ import annotations

from pipelines.components.evaluator.component import Evaluator
from pipelines.components.evaluator.parameters import (
    DifferenceThreshold,
    EvaluatorParameters,
    MetricName,
    SliceGuard,
    ValueThreshold,
)

__all__ = [
    "DifferenceThreshold",
    "Evaluator",
    "EvaluatorParameters",
    "MetricName",
    "SliceGuard",
    "ValueThreshold",
]
