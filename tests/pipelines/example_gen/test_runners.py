"""Every runner gives the same artifacts; slow, since each step starts worker processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from generated import Generated, generate
from raw_files import made_up_log, write_tables

from idp_tf.errors import MissingDataError
from pipelines.flink import FlinkCluster, find_distribution

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FLINK = Path(__file__).parents[3] / ".flink"


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = tmp_path_factory.mktemp("data")
    write_tables(data / "shop", made_up_log())
    return {"domain": "shop", "data": data, "k_core": 4, "rows_per_bucket": 60}


@pytest.fixture(scope="module")
def alone(arguments: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return generate(tmp_path_factory.mktemp("alone"), **arguments)


def assert_same(found: Generated, expected: Generated) -> None:
    assert found.manifest == expected.manifest
    assert found.fingerprints == expected.fingerprints
    assert found.users("train") == expected.users("train")
    assert found.users("eval") == expected.users("eval")
    assert found.items() == expected.items()
    assert found.execution.counters == expected.execution.counters


def test_two_processes(arguments: dict[str, Any], alone: Generated, tmp_path: Path) -> None:
    beam_args = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    assert_same(generate(tmp_path / "g", beam_args=beam_args, **arguments), alone)


def test_flink(arguments: dict[str, Any], alone: Generated, tmp_path: Path) -> None:
    try:
        distribution = find_distribution(FLINK)
    except MissingDataError as error:
        pytest.skip(f"no Flink to start: {error}")
    with FlinkCluster(distribution, tmp_path / "flink") as cluster:
        found = generate(tmp_path / "g", beam_args=cluster.beam_args, **arguments)
    assert_same(found, alone)
