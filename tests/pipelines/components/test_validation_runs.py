"""Validation from run to run: with what the default pipeline compares, and when it stops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idp_tf.errors import DataError
from pipelines.compose import compose
from pipelines.dag import Pipeline
from pipelines.launcher import NodeResult, run_nodes
from pipelines.record import Record
from pipelines.root import locked
from pipelines.settings import load_pipeline_settings
from tests.pipelines.tiny_pipeline import write_config
from tests.tiny_world import TARGET, write_world

NODES = [f"{name}.{TARGET}" for name in ("ExampleGen", "StatisticsGen", "SchemaGen")]
VALIDATOR = f"ExampleValidator.{TARGET}"


def run(config: Path) -> list[NodeResult]:
    """The target domain's nodes up to its validation."""
    settings = load_pipeline_settings(config)
    nodes = {node.id: node for node in compose(settings).nodes}
    pipeline = Pipeline([nodes[name] for name in (*NODES, VALIDATOR)])
    with locked(settings.root), Record(settings.root) as record:
        return run_nodes(pipeline, settings.root, record, record.begin_run())


def exchange_titles(file: Path) -> None:
    """As if another domain's file had been taken."""
    header, *rows = file.read_text(encoding="utf-8").splitlines()
    foreign = [f"{row.partition(chr(9))[0]}\torchid tulip fern {n}" for n, row in enumerate(rows)]
    file.write_text("\n".join([header, *foreign]) + "\n", encoding="utf-8")


def test_the_last_accepted_run_is_what_counts(tmp_path: Path) -> None:
    write_world(tmp_path / "data")
    config = write_config(tmp_path, tmp_path / "no encoder is read")
    anomalies = run(config)[-1].outputs["anomalies"]
    assert anomalies.properties["accepted"]
    assert not json.loads((anomalies.uri / "anomalies.json").read_text())["compared_with_last_run"]
    exchange_titles(tmp_path / "data" / TARGET / f"{TARGET}.item")
    # Again: what was refused is not what the next run is compared with.
    for _ in range(2):
        with pytest.raises(DataError, match="title file of another domain"):
            run(config)


def test_a_title_file_that_lost_rows(tmp_path: Path) -> None:
    """Where unknown items are dropped, on the first day, when there is nothing to compare with."""
    write_world(tmp_path / "data")
    config = write_config(tmp_path, tmp_path / "no encoder is read")
    text = config.read_text().replace("settings:", "settings:\n  prepare: {unknown_items: drop}")
    config.write_text(text)
    file = tmp_path / "data" / TARGET / f"{TARGET}.item"
    header, *rows = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([header, *rows[: len(rows) // 2]]) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"were dropped, as their items have no row.*at most 5"):
        run(config)
