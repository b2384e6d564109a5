"""What a check says, and what it is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines.components.statistics_gen.files import (
    SPLITS,
    read_domain,
    read_known_items,
    read_statistics,
)

Severity = Literal["ERROR", "WARNING"]
FeaturePath = tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Args:
        severity: ``ERROR`` if a model made from it would be wrong, ``WARNING`` if a person
            should look.
        split: The split.
        path: The feature; empty for what concerns the whole split.
        check: A short name of the rule, such as ``empty_titles``.
        reason: tensorflow_metadata's name of it, of ``AnomalyInfo.Type``.
        what: What is wrong.
        value: What was found, in words and figures.
        expected: What should be.
        remedy: What to do.
    """

    severity: Severity
    split: str
    path: FeaturePath
    check: str
    reason: str
    what: str
    value: str
    expected: str
    remedy: str

    @property
    def where(self) -> str:
        """The split and the feature, as people read them."""
        return f"Split-{self.split}" + (f", {'.'.join(self.path)}" if self.path else "")

    def line(self) -> str:
        """All of it in one line."""
        return (
            f"{self.severity} {self.where}: {self.what}: {self.value}, expected {self.expected}"
            f" -> {self.remedy} [{self.check}]"
        )


@dataclass(frozen=True)
class Measurement:
    """A distance that was measured, too large or not.

    Args:
        split: The split.
        path: The feature; empty for what is no single feature's.
        what: Of what.
        kind: ``drift`` since the last run, or ``skew`` between splits.
        measure: ``L_INFTY`` or ``JENSEN_SHANNON_DIVERGENCE``.
        value: The distance.
        threshold: The largest that is let pass.
    """

    split: str
    path: FeaturePath
    what: str
    kind: Literal["drift", "skew"]
    measure: str
    value: float
    threshold: float

    @property
    def too_large(self) -> bool:
        """Whether it is above its threshold."""
        return self.value > self.threshold


@dataclass
class Findings:
    """All that the checks of one execution say."""

    findings: list[Finding] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)

    def measure(
        self, measurement: Measurement, check: str, severity: Severity, remedy: str
    ) -> None:
        """Keeps a distance, and a finding if it is too large."""
        self.measurements.append(measurement)
        if not measurement.too_large:
            return
        short = "JENSEN_SHANNON_DIVERGENCE" if "JENSEN" in measurement.measure else "L_INFTY"
        than = "the last run" if measurement.kind == "drift" else "the split train"
        self.findings.append(
            Finding(
                severity,
                measurement.split,
                measurement.path,
                check,
                f"COMPARATOR_{short}_HIGH",
                f"{measurement.what} differ from {than}",
                f"{_NAMES[measurement.measure]} {measurement.value:.4f}",
                f"at most {measurement.threshold:g}",
                remedy,
            )
        )


_NAMES = {
    "L_INFTY": "largest difference of a share",
    "JENSEN_SHANNON_DIVERGENCE": "Jensen-Shannon divergence",
}


@dataclass(frozen=True)
class Seen:
    """The statistics of one run.

    Args:
        splits: ``DatasetFeatureStatistics`` of each split.
        domain: The content of ``domain.json``.
        known: The sketch of the item ids, or None if there are no items.
    """

    splits: dict[str, Any]
    domain: dict[str, Any]
    known: Any

    @classmethod
    def load(cls, folder: Path) -> Seen:
        """Reads an ExampleStatistics artifact; for errors see ``statistics_gen.files``."""
        splits = {split: read_statistics(folder, split) for split in SPLITS}
        return cls(splits, read_domain(folder), read_known_items(folder))

    def features(self, split: str) -> dict[FeaturePath, Any]:
        """``FeatureNameStatistics`` of a split, by their paths."""
        return {tuple(found.path.step): found for found in self.splits[split].features}


def percent(share: float) -> str:
    """A share as people read it.

    Example:
        >>> percent(0.1234), percent(1.0)
        ('12.3 %', '100 %')
    """
    return f"{100 * share:.3g} %"
