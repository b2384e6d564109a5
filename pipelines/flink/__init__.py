"""A Flink cluster of one machine's processes, which runs Beam's pipelines as a real one does."""

from pipelines.flink.cluster import FlinkCluster
from pipelines.flink.configuration import ClusterSettings
from pipelines.flink.distribution import Distribution, find_distribution

__all__ = ["ClusterSettings", "Distribution", "FlinkCluster", "find_distribution"]
