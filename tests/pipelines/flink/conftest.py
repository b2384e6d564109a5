"""A cluster for the tests that need one; what components' own tests have can be imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from idp_tf.errors import MissingDataError
from pipelines.flink import FlinkCluster, find_distribution

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "components"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    try:
        distribution = find_distribution(HERE.parents[2] / ".flink")
    except MissingDataError as error:
        pytest.skip(f"no Flink to start: {error}")
    folder = tmp_path_factory.mktemp("flink")
    with FlinkCluster(distribution, folder, python_path=[HERE]) as cluster:
        yield cluster
    left = [one.name for one in (*cluster.task_managers, cluster.job_manager) if one.alive()]
    assert left == []
