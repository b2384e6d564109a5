"""StatisticsGen: what a domain's users, items and titles look like, in figures."""

from pipelines.components.statistics_gen.component import StatisticsGen, StatisticsGenParameters

__all__ = ["StatisticsGen", "StatisticsGenParameters"]
