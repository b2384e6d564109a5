"""One whole run: every file of the workdir, what stands in them, and that they agree."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2
from tiny_world import NEGATIVES, NUM_ITEMS, NUM_USERS, SOURCES, TARGET, TOP_M

SYSTEMS = (
    "popularity",
    "nearest-title",
    "sasrec",
    "idp-zero-shot",
    "idp",
    "idp-wo-encoder",
    "idp-wo-matcher",
    "idp-wo-bcl",
)
PROTOCOLS = (f"sampled-{NEGATIVES}", "full")
METRICS = ("HR@1", "HR@3", "HR@5", "HR@10", "NDCG@1", "NDCG@3", "NDCG@5", "NDCG@10", "MRR")
EXPORTS = tuple(
    name + form for name in ("cold_start", "matcher", "recommender") for form in ("", "_scann")
)


@pytest.fixture(scope="module")
def report(finished: Path) -> dict[str, Any]:
    """report.json, read as strictly as another language would."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text = (finished / "report.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return found


def ranks_of(finished: Path, system: str) -> dict[str, np.ndarray]:
    with np.load(finished / f"target/{TARGET}/evaluation/{system}/seed-0/ranks.npz") as stored:
        return dict(stored)


def test_files_lie_where_the_design_says(finished: Path) -> None:
    for domain in (*SOURCES, TARGET):
        manifest = json.loads((finished / "data" / domain / "manifest.json").read_text())
        assert manifest["domain"] == domain
        assert {"before", "after", "filters", "hash"} <= manifest.keys()
        assert manifest["after"]["users"] == NUM_USERS
        assert manifest["after"]["items"] == NUM_ITEMS
        assert not list((finished / "data" / domain).glob(".*")), "something is left lying about"
    assert {path.name for path in (finished / "data").iterdir()} == {*SOURCES, TARGET}
    for place in ("pretrain/model", "matcher/tuned", "matcher/untuned"):
        assert any((finished / place).iterdir())
    for logs in ("pretrain", "matcher", TARGET):
        assert list((finished / "logs" / logs).rglob("events.out.tfevents.*"))
    assert not list(finished.rglob("*partial*"))
    assert not list(finished.rglob("*.tmp"))


def test_config_names_what_was_asked_for(finished: Path, world: Path, tiny_bert: Path) -> None:
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["data"] == str(world)
    assert (config["sources"], config["target"]) == (list(SOURCES), TARGET)
    assert config["settings"]["matcher"]["encoder"] == str(tiny_bert)
    assert config["settings"]["transfer"]["top_m"] == TOP_M


def test_matches_make_the_embeddings(finished: Path) -> None:
    """eq. 8 and 9 from the table alone, by the names that it gives."""
    embeddings = np.load(finished / "target" / TARGET / "embeddings.npy")
    assert embeddings.shape == (NUM_ITEMS, 8) and embeddings.dtype == np.float32
    table = pl.read_parquet(finished / "target" / TARGET / "matches.parquet")
    assert table.columns[:7] == [
        "target_item", "source_item", "source_domain", "target_title", "source_title", "score",
        "weight",
    ]  # fmt: skip
    assert len(table) == NUM_ITEMS * TOP_M
    titles = {
        domain: dict(pl.read_parquet(finished / f"data/{domain}/items.parquet").iter_rows())
        for domain in (*SOURCES, TARGET)
    }
    for row in table.iter_rows(named=True):
        assert row["target_title"] == titles[TARGET][row["target_item"]]
        assert row["source_title"] == titles[row["source_domain"]][row["source_item"]]
    weights = table.group_by("target_item").agg(pl.col("weight").sum())
    np.testing.assert_allclose(weights["weight"].to_numpy(), 1.0, rtol=1e-5)


def test_every_system_has_both_protocols(report: dict[str, Any]) -> None:
    found = [(row["system"], row["protocol"], row["seed"]) for row in report["results"]]
    assert Counter(found) == Counter((s, protocol, 0) for s in SYSTEMS for protocol in PROTOCOLS)
    for row in report["results"]:
        assert row["domain"] == TARGET and row["users"] == NUM_USERS
        assert set(row["metrics"]) == set(METRICS)
        assert row["seconds"] >= 0


def test_figures_follow_from_the_stored_ranks(finished: Path, report: dict[str, Any]) -> None:
    for row in report["results"]:
        ranks = ranks_of(finished, row["system"])[row["protocol"]].astype(float)
        assert ranks.shape == (NUM_USERS,) and ranks.min() >= 1
        expected = {"MRR": (1 / ranks).mean()}
        for k in (1, 3, 5, 10):
            expected[f"HR@{k}"] = (ranks <= k).mean()
            expected[f"NDCG@{k}"] = np.where(ranks <= k, 1 / np.log2(ranks + 1), 0).mean()
        assert row["metrics"] == pytest.approx(expected, abs=1e-12), row["system"]


def test_differences_follow_from_the_stored_ranks(finished: Path, report: dict[str, Any]) -> None:
    compared = set()
    for row in report["significance"]:
        assert {"better", "than", "metric", "p", "mean_difference", "ci95"} <= row.keys()
        name, k = row["metric"].split("@")
        better, than = (
            np.where(ranks <= int(k), 1.0 if name == "HR" else 1 / np.log2(ranks + 1.0), 0)
            for ranks in (
                ranks_of(finished, row[key])[row["protocol"]] for key in ("better", "than")
            )
        )
        assert row["mean_difference"] == pytest.approx((better - than).mean(), abs=1e-12)
        assert row["mean_difference"] >= 0 and 0 <= row["p"] <= 1
        low, high = row["ci95"]
        assert low <= row["mean_difference"] <= high
        compared.add(frozenset((row["better"], row["than"])))
    assert {frozenset(("idp", other)) for other in SYSTEMS if other != "idp"} <= compared
    assert frozenset(("sasrec", "popularity")) in compared


def test_twins_stand_beside_what_transfers(finished: Path, report: dict[str, Any]) -> None:
    assert [(entry["system"], entry["twin"]) for entry in report["twins"]] == [
        (system, "sasrec") for system in SYSTEMS if system.startswith("idp")
    ]
    for entry in report["twins"]:
        found = {(c["protocol"], c["metric"]): c for c in entry["comparisons"]}
        assert set(found) == {(p, f"NDCG@{k}") for p in PROTOCOLS for k in (5, 10)}
        for (protocol, metric), comparison in found.items():
            own, twin = (
                np.where(ranks <= int(metric[5:]), 1 / np.log2(ranks + 1.0), 0)
                for ranks in (
                    ranks_of(finished, entry[key])[protocol] for key in ("system", "twin")
                )
            )
            expected = (own - twin).mean()
            assert comparison["mean_difference"] == pytest.approx(expected, abs=1e-12)
            low, high = comparison["ci95"]
            assert low <= expected <= high
            sides = {"gain": low > 0, "loss": high < 0, "no difference shown": low <= 0 <= high}
            assert sides[comparison["verdict"]]
    assert report["tuning"] == {TARGET: []}


def test_popularity_is_what_numpy_counts(finished: Path) -> None:
    """A whole system by hand: its full ranking from the prepared sequences."""
    folder = finished / "data" / TARGET
    values, offsets = np.load(folder / "sequences.npy"), np.load(folder / "offsets.npy")
    users = [values[a:b] for a, b in itertools.pairwise(offsets)]
    counts = np.bincount(np.concatenate([user[:-2] for user in users]), minlength=NUM_ITEMS + 1)
    ranks = []
    for user in users:
        unseen = np.setdiff1d(np.arange(1, NUM_ITEMS + 1), user[:-1])
        # Ties count against the system.
        ranks.append((counts[unseen] >= counts[user[-1]]).sum())
    assert ranks_of(finished, "popularity")["full"].tolist() == ranks


def test_the_test_is_opened_once_a_system(finished: Path, report: dict[str, Any]) -> None:
    assert report["test_openings"] == {TARGET: dict.fromkeys(SYSTEMS, 1)}
    lines = (finished / f"target/{TARGET}/test_openings.jsonl").read_text().splitlines()
    assert len(lines) == len(SYSTEMS)


def test_tuning_changes_the_systems_that_it_should(finished: Path) -> None:
    """In this world systems differ, so that a mix-up among them would show."""
    ranks = {system: tuple(ranks_of(finished, system)["full"]) for system in SYSTEMS}
    assert len(set(ranks.values())) == len(SYSTEMS)


def test_the_report_tells_of_every_part(report: dict[str, Any], finished: Path) -> None:
    assert set(report["domains"]) == {*SOURCES, TARGET}
    for name in SOURCES:
        manifest = json.loads((finished / "data" / name / "manifest.json").read_text())
        assert report["domains"][name] == manifest
    assert report["config"]["target"] == TARGET and report["demonstration"] is False
    assert report["matcher"]["held_out_items"] == 2 * NUM_ITEMS // 10
    assert 0 <= report["matcher"]["recall_untuned"] <= 1
    assert len(report["curves"]["pre-training"]["loss"]) == 3
    assert len(report["curves"][f"{TARGET}: idp, seed 0"]["loss"]) == 2
    assert report["transfer"][TARGET]["items"] == NUM_ITEMS
    assert sum(report["transfer"][TARGET]["share_by_source"].values()) == pytest.approx(1)
    assert [stage["name"] for stage in report["stages"]][:5] == [
        "data of kitchen", "data of music", "data of office", "titles of office", "pre-training",
    ]  # fmt: skip
    assert not any(stage["reused"] for stage in report["stages"])


def test_the_page_shows_the_figures(report: dict[str, Any], finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    for row in report["results"]:
        assert f"{row['metrics']['NDCG@5']:.4f}" in page
    assert "http://" not in page and "https://" not in page


def test_every_model_is_exported_in_both_forms(finished: Path) -> None:
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((finished / "export/models.config").read_text(), config)
    listed = {model.name: Path(model.base_path) for model in config.model_config_list.config}
    assert listed == {name: finished.resolve() / "export" / name for name in EXPORTS}
    for folder in listed.values():
        assert (folder / "1" / "saved_model.pb").is_file()
        assert [path.name for path in folder.iterdir()] == ["1"]
