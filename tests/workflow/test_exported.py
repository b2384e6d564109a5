"""Which system's recommender is exported, and what becomes of a run that has none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tensorflow as tf
from tiny_world import NUM_ITEMS, NUM_USERS, TARGET, command, invoke

from idp_tf.models import load_model


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished workdir that a test may change."""
    return shutil.copytree(finished, tmp_path / "copy")


def exported(workdir: Path) -> dict[str, list[str]]:
    """The versions of each model in the export folder."""
    return {
        folder.name: sorted(version.name for version in folder.iterdir())
        for folder in (workdir / "export").glob("*/")
    }


def system_of(version: Path) -> str:
    told = json.loads((version / "assets.extra/signature.json").read_text(encoding="utf-8"))
    return str(told["system"])


def ranking(workdir: Path, slug: str, item: int) -> list[str]:
    """All other items for a history of one, best first, from the system's stored model."""
    model: Any = load_model(workdir / f"target/{TARGET}/systems/{slug}/seed-0/model")
    names = pl.read_parquet(workdir / "data" / TARGET / "items.parquet")["item_id"].to_list()
    window = np.zeros((1, model.max_length), np.int32)
    window[0, -1] = item
    scores = model.item_vectors().numpy()[1:] @ model.encode_users(window).numpy()[0]
    order = np.argsort(-scores, kind="stable")
    return [names[row] for row in order if row != item - 1]


@pytest.mark.parametrize(
    "slug", ["sasrec", pytest.param("idp-zero-shot", marks=[pytest.mark.slow])]
)
def test_the_system_that_is_asked_for(
    slug: str, copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = invoke("export", "--workdir", copied, "--system", slug)
    assert done.code == 0, done.err
    assert str(copied / "export/models.config") in done.out
    versions = ["1", "2"]
    # That of a system without generated embeddings would have to be of another.
    cold = ["1"] if slug == "sasrec" else versions
    assert exported(copied) == {
        "recommender": versions, "recommender_scann": versions,
        "matcher": ["1"], "matcher_scann": ["1"],
        "cold_start": cold, "cold_start_scann": cold,
    }  # fmt: skip
    assert ("no cold_start is exported for sasrec" in caplog.text) == (slug == "sasrec")
    assert f"servers answer, becomes one of {slug}; version 1 is of idp" in caplog.text
    folder = copied / "export/recommender"
    assert [system_of(folder / version) for version in versions] == ["idp", slug]

    names = pl.read_parquet(copied / "data" / TARGET / "items.parquet")["item_id"].to_list()
    served = tf.saved_model.load(str(folder / "2")).signatures["serving_default"]
    for item in (1, 7):
        answer = served(
            item_ids=tf.constant([[names[item - 1]]]), k=tf.constant(NUM_ITEMS - 1, tf.int32)
        )
        found = [name.decode() for name in answer["item_ids"].numpy()[0]]
        assert found == ranking(copied, slug, item)

    if slug == "sasrec":  # The choice was of that call.
        assert invoke("export", "--workdir", copied).code == 0
        assert system_of(folder / "3") == "idp"


def test_fewer_bytes(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    """int8 over 40 users of this world: the size, and the loss as NumPy has it, in the notes."""
    assert invoke("export", "--workdir", copied, "--quantize", "int8").code == 0
    versions = ["1", "2"]
    assert exported(copied)["recommender"] == exported(copied)["recommender_scann"] == versions
    assert exported(copied)["matcher"] == exported(copied)["cold_start"] == ["1"]
    version = copied / "export/recommender/2"
    told = json.loads((version / "assets.extra/signature.json").read_text(encoding="utf-8"))
    assert (told["table"], told["table_bytes"]) == ("int8", NUM_ITEMS * (8 + 4))
    assert told["float32_table_bytes"] == NUM_ITEMS * 8 * 4
    assert told["overlap_users"] == NUM_USERS
    assert 0.9 <= told["overlap_at_10"] <= 1
    assert f"of the top 10 of {NUM_USERS} users {told['overlap_at_10']:.4f} stay" in caplog.text

    # Asked for again it is there, and without the option it is another.
    assert invoke("export", "--workdir", copied, "--quantize", "int8").code == 0
    assert exported(copied)["recommender"] == versions
    assert invoke("export", "--workdir", copied).code == 0
    assert exported(copied)["recommender"] == [*versions, "3"]


@pytest.mark.parametrize("name", ["cold_start", "cold_start_scann"])
def test_a_history_of_titles(name: str, finished: Path) -> None:
    """Titles of the target's own items: users as of the embeddings that were made for these."""
    folder = finished / "target" / TARGET
    made = np.load(folder / "embeddings.npy")
    items = pl.read_parquet(finished / "data" / TARGET / "items.parquet")
    model: Any = load_model(folder / "systems/idp/seed-0/model")
    vectors = model.item_vectors().numpy()[1:]
    history = [4, 17, 9]
    model.item_embedding.set_weights([np.vstack([np.zeros((1, 8), np.float32), made])])
    window = np.zeros((1, model.max_length), np.int32)
    window[0, -3:] = np.array(history) + 1
    scores = vectors @ model.encode_users(window).numpy()[0]
    order = np.argsort(-scores, kind="stable")[:7]
    served = tf.saved_model.load(str(finished / "export" / name / "1"))
    answer = served.signatures["serving_default"](
        titles=tf.constant([[items["title"][row] for row in history]]), k=tf.constant(7)
    )
    names = items["item_id"].to_list()
    assert [n.decode() for n in answer["item_ids"].numpy()[0]] == [names[row] for row in order]
    np.testing.assert_allclose(answer["scores"].numpy()[0], scores[order], atol=1e-4)


@pytest.mark.parametrize(
    ("slug", "problem"),
    [
        ("gru4rec", "'gru4rec' is not among the systems of this run"),
        ("popularity", "'popularity' ranks without a model"),
    ],
)
def test_a_system_that_cannot_be_exported(slug: str, problem: str, copied: Path) -> None:
    before = exported(copied)
    done = invoke("export", "--workdir", copied, "--system", slug)
    assert done.code == 2
    assert f"--system: {problem}" in done.err and "idp-wo-encoder" in done.err
    assert exported(copied) == before


def test_a_run_without_a_sequence_model(
    world: Path, tiny_bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes to its end, without an export; which is an error where that is asked for."""
    workdir = tmp_path / "w"
    done = invoke(*command(world, workdir, tiny_bert, "systems=[popularity, nearest-title]"))
    assert done.code == 0, done.err
    rows = json.loads((workdir / "report.json").read_text(encoding="utf-8"))["results"]
    assert {row["system"] for row in rows} == {"popularity", "nearest-title"}
    (warning,) = (text for text in caplog.messages if "is exported" in text)
    assert "none of popularity, nearest-title is a model that is trained" in warning
    assert "add idp, or sasrec, to systems" in warning
    for arguments in ((), ("--system", "popularity")):
        refused = invoke("export", "--workdir", workdir, *arguments)
        assert refused.code == 2 and "add idp, or sasrec, to systems" in refused.err
    assert not (workdir / "export").exists()


def test_the_matcher_is_exported_alone(
    copied: Path, world: Path, tiny_bert: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is trained on the target, but the zero-shot system has been matched."""
    shutil.rmtree(copied / "export")
    done = invoke(*command(world, copied, tiny_bert, "systems=[idp-zero-shot]"))
    assert done.code == 0, done.err
    assert "export --system with one of idp-zero-shot" in caplog.text
    assert exported(copied) == {"matcher": ["1"], "matcher_scann": ["1"]}
    assert "recommender" not in (copied / "export/models.config").read_text(encoding="utf-8")
    refused = invoke("export", "--workdir", copied)
    assert refused.code == 2 and "export --system with one of idp-zero-shot" in refused.err
