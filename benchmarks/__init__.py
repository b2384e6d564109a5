"""What is measured, against what, and what must be reached; each by ``idp-tf bench NAME``."""

from benchmarks.base import BENCHES, BenchResult, Goal, run_bench

__all__ = ["BENCHES", "BenchResult", "Goal", "run_bench"]
