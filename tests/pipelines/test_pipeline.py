"""The whole pipeline over the tiny world: what is made, reused, and made anew."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from idp_tf.errors import SettingsError
from pipelines.compose import compose
from pipelines.run import RunResult, run_pipeline
from pipelines.settings import load_pipeline_settings
from tests.pipelines.tiny_pipeline import write_config
from tests.tiny_bert import write_tiny_bert
from tests.tiny_world import SOURCES, TARGET, invoke, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data, a BERT and a config; one run has been made over it."""
    folder = tmp_path_factory.mktemp("pipeline")
    write_world(folder / "data")
    config = write_config(folder, write_tiny_bert(folder / "bert"))
    assert run(config).has_done_something
    return folder


def run(config: Path) -> RunResult:
    return run_pipeline(load_pipeline_settings(config))


def ran(result: RunResult) -> set[str]:
    return {node.node_id for node in result.nodes if node.state == "ran"}


def test_a_second_run_does_nothing_and_imports_nothing_heavy(world: Path) -> None:
    script = (
        "import sys; from pipelines.run import main; code = main(sys.argv[1:]);"
        "heavy = {'tensorflow', 'apache_beam', 'keras', 'tf_keras', 'scann'} & set(sys.modules);"
        "print('heavy:', sorted(heavy)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--config", str(world / "pipeline.yaml")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr
    assert "0 of 24 nodes had something to do" in done.stdout
    assert "Nothing has changed since they were made" in done.stdout
    assert "heavy: []" in done.stdout


def test_new_titles_redo_what_reads_titles(world: Path, tmp_path: Path) -> None:
    """Of the target; who did what is as before, so the control and the sources stay."""
    changed = copy_of(world, tmp_path)
    file = changed / "data" / TARGET / f"{TARGET}.item"
    head, first, *rest = file.read_text().splitlines()
    item, _, title = first.partition("\t")
    file.write_text("\n".join([head, f"{item}\tblack {title}", *rest]) + "\n")
    result = run(changed / "pipeline.yaml")
    assert ran(result) >= {
        f"ExampleGen.{TARGET}",
        f"BulkInferrer.{TARGET}",
        "EmbeddingGenerator",
        "Trainer.fine_tune",
    }
    untouched = {
        f"{name}.{source}" for source in SOURCES for name in ("ExampleGen", "BulkInferrer")
    }
    untouched |= {"Trainer.pretrain", "Trainer.control", "Trainer.matcher", "IndexBuilder"}
    assert not ran(result) & untouched
    (inferred,) = (node for node in result.nodes if node.node_id == f"BulkInferrer.{TARGET}")
    figures = inferred.outputs["inference_result"].properties
    assert (figures["encoded"], figures["reused"]) == (1, figures["items"] - 1)


def copy_of(world: Path, folder: Path) -> Path:
    """The world with its root, at another place; its artifacts stay where they were."""
    shutil.copytree(world / "data", folder / "data")
    shutil.copytree(world / "root", folder / "root")
    config = (world / "pipeline.yaml").read_text()
    text = config.replace(str(world / "data"), str(folder / "data"))
    text = text.replace(str(world / "root"), str(folder / "root"))
    (folder / "pipeline.yaml").write_text(text)
    return folder


def test_what_the_commands_tell(world: Path) -> None:
    root = world / "root"
    status = invoke("pipeline", "status", "--root", root, "--run", "1", "--paths")
    assert status.code == 0
    assert "Run 1" in status.out and "Pushed: version " in status.out
    folders = re.findall(r"^  (\S+/\S+/\d+)$", status.out, re.MULTILINE)
    assert len(folders) > 24 and all((root / folder).is_dir() for folder in folders)
    file = world / "no" / "such" / "graph.svg"
    graph = invoke("pipeline", "graph", "--root", root, "--output", file)
    assert graph.code == 0
    drawn = file.read_text()
    assert drawn.startswith("<svg") and "Trainer.fine_tune" in drawn
    assert "stroke-dasharray" in drawn  # a gate, which the record does not know
    assert "EmbeddingGenerator" in invoke("pipeline", "graph", "--root", root).out
    history = invoke("pipeline", "history", "--root", root).out
    assert re.search(r"complete +24 +0 +yes +\d{10}", history)
    missing = invoke("pipeline", "status", "--root", root, "--run", "99")
    assert missing.code == 2 and "there is no run 99" in missing.err


def test_the_report_and_the_log(world: Path) -> None:
    page = (world / "root" / "report.html").read_text(encoding="utf-8")
    for told in ("Pipeline run", "ExampleGen.office", "NDCG@10", "<svg", "interactions"):
        assert told in page
    assert not re.findall(r"https?://(?!www\.w3\.org)", page)
    links = re.findall(r'href="([^#].*?)"', page)
    assert len(links) > 24 and all((world / "root" / link).exists() for link in links)
    assert page.index("<h2>Evaluation") < page.index("<h2>Checks") < page.index("<h2>Components")
    lines = (world / "root" / "logs" / "run-1.jsonl").read_text().splitlines()
    nodes = {json.loads(line)["node"] for line in lines}
    assert {"ExampleGen.office", "Trainer.fine_tune", "Pusher"} <= nodes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": [TARGET]}, "office is a source and the target too"),
        ({"colour": "red"}, "colour"),
        ({"settings": {"matcher": {"stepz": 3}}}, "stepz"),
        ({"evaluator": {"min_userz": 3}}, "Evaluator: .*min_userz"),
        (
            {"curated_schemas": {"attic": "schema.pbtxt"}},
            "attic is neither a source nor the target",
        ),
        ({"system": "unisrec-t"}, "unisrec-t"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    config = write_config(tmp_path, tmp_path, **changes)
    with pytest.raises(SettingsError, match=said):
        compose(load_pipeline_settings(config))
