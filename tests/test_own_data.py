"""A user's own files: what of them decides a workdir, and tables with columns of any name."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_world import NUM_ITEMS, SOURCES, TARGET, command, invoke

from idp_tf.config import load_settings
from idp_tf.errors import SettingsError
from idp_tf.workflow.prepare import data_key
from idp_tf.workflow.run import Run, RunConfig

COLUMNS = "prepare.columns={user_id: who, item_id: sku, timestamp: null, title: name}"


def inputs_of(data: Path, name: str, *overrides: str) -> dict[str, Any]:
    """What the prepared domain of a source depends on."""
    settings = load_settings(overrides=overrides)
    run = Run(data / "w", RunConfig(data=data, sources=(name,), target="t", settings=settings))
    data_key(run, name)
    return run.artifacts[run.workdir / "data" / name].inputs


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_inputs_are_as_they_were_before_columns_had_a_setting(world: Path) -> None:
    """Byte for byte, or the workdirs that users have would not fit any more."""
    folder = world / "music"
    expected = {
        "format": 2,
        "files": {name: sha256(folder / name) for name in ("music.inter", "music.item")},
        "k_core": 5,
        "ties": "random",
        "unknown_items": "error",
        "repeated_items": "error",
        "seed": 0,
    }
    assert json.dumps(inputs_of(world, "music")) == json.dumps(expected)
    named = inputs_of(world, "music", "prepare.columns={title: name}")
    assert named == {**expected, "columns": {"title": "name"}}


def test_stray_files_decide_nothing(world: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(world / "music", tmp_path / "music")
    before = inputs_of(tmp_path, "music")
    for name in (".DS_Store", "README.md", "music.link"):
        (folder / name).write_text("stray")
    assert inputs_of(tmp_path, "music") == before


def test_another_domain_whose_name_holds_this_one_decides_nothing(
    world: Path, tmp_path: Path
) -> None:
    for name in ("books", "ebooks"):
        for end in ("inter", "item"):
            shutil.copy(world / "music" / f"music.{end}", tmp_path / f"{name}.{end}")
    assert list(inputs_of(tmp_path, "books")["files"]) == ["books.inter", "books.item"]


@pytest.fixture
def tables(world: Path, tmp_path: Path) -> Path:
    """The tiny world as CSV without timestamps, its columns named otherwise."""
    for name in (*SOURCES, TARGET):
        folder = tmp_path / "tables" / name
        folder.mkdir(parents=True)
        for old, new, header in (
            ("inter", "interactions", "who,sku"),
            ("item", "items", "sku,name"),
        ):
            rows = (world / name / f"{name}.{old}").read_text().splitlines()[1:]
            lines = [header, *(",".join(row.split("\t")[:2]) for row in rows)]
            (folder / f"{new}.csv").write_text("\n".join(lines))
    return tmp_path / "tables"


def test_tables_with_columns_of_any_name(tables: Path, tiny_bert: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "w"
    refused = invoke("prepare", *command(tables, workdir, tiny_bert)[1:])
    assert refused.code == 2
    assert "no column 'user_id'" in refused.err and "set prepare.columns.user_id" in refused.err
    settings = (COLUMNS, "prepare.ties=source")
    done = invoke("prepare", *command(tables, workdir, tiny_bert, *settings)[1:])
    assert done.code == 0, done.err
    manifest = json.loads((workdir / "data" / TARGET / "manifest.json").read_text())
    assert manifest["after"]["items"] == NUM_ITEMS
    # The stages that follow read the setting from the workdir's config.yaml.
    refused = invoke("match", "--workdir", workdir)
    assert "'pre-training' has not been made yet" in refused.err


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("prepare.columns={title: null}", "only timestamp may be null"),
        ("prepare.columns={user: who}", "'user_id', 'item_id', 'timestamp' or 'title'"),
        ("prepare.columns=[who]", "prepare.columns"),
    ],
)
def test_columns_that_cannot_be(pair: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings(overrides=[pair])
