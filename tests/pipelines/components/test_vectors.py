"""IndexBuilder and EmbeddingGenerator against the library in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from domain_artifacts import finished, run, titled, write_items
from tiny_encoder import export

from idp_tf.data.domain import Domain, MergedDomains
from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import DataError, SettingsError
from idp_tf.models import save_model
from idp_tf.models.sasrec import SASRec
from idp_tf.retrieval import build_index
from idp_tf.text import TextEncoder, build_text_encoder
from idp_tf.transfer.generate import find_untitled, generate_embeddings, write_matches
from pipelines.artifacts import MODEL, Artifact
from pipelines.components.bulk_inferrer import BulkInferrer
from pipelines.components.embedding_generator import EmbeddingGenerator
from pipelines.components.index_builder import IndexBuilder
from pipelines.components.index_builder.files import ItemIndex

WORDS = ["green", "black", "tea", "kettle", "guitar", "string", "violin", "bow", "star", "desk"]
TOP_M = 4


def titles(seed: int, number: int) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    made = {f"{seed}-{n}": " ".join(rng.choice(WORDS, 3)) for n in range(number)}
    return made | {f"{seed}-1": ""}


SOURCES = {"music": titles(1, 30), "home": titles(2, 25)}
TARGET = titles(3, 20)


@dataclass(frozen=True)
class World:
    encoder: TextEncoder
    encoder_model: Artifact
    model: SASRec
    trained: Artifact
    results: dict[str, Artifact]
    items: dict[str, Artifact]


def infer(folder: Path, model: Artifact, items: Artifact, previous: Any = ()) -> Artifact:
    inputs = {"items": items, "model": model, "previous": list(previous)}
    return finished(run(BulkInferrer(), folder, inputs), "inference_result")


def ordered(named: dict[str, str]) -> list[str]:
    return [named[item] for item in sorted(named)]


@pytest.fixture(scope="module")
def world(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    encoder = build_text_encoder(str(tiny_bert), "mean", 12)
    exported = export(encoder, folder / "encoder")
    named = SOURCES | {"office": TARGET}
    items = {name: write_items(folder / name, titled(found), name) for name, found in named.items()}
    results = {name: infer(folder / f"{name} vectors", exported, items[name]) for name in items}
    model = SASRec(num_items=55, embedding_dim=8, num_layers=1, num_heads=1, max_length=4)
    model(np.ones((1, 4), np.int32))
    extra = folder / "trained" / "Format-Serving" / "assets.extra" / "idp_tf"
    save_model(model, extra / "model")
    pairs = [(name, item) for name, found in SOURCES.items() for item in sorted(found)]
    table = pl.DataFrame(pairs, schema=["domain", "item_id"], orient="row")
    table.with_columns(title=pl.lit("")).write_parquet(extra / "items.parquet")
    trained = Artifact(MODEL, folder / "trained", "trained", {})
    return World(encoder, exported, model, trained, results, items)


def build(world: World, folder: Path, **parameters: Any) -> Artifact:
    inputs = {
        "inference_result": [world.results[name] for name in SOURCES],
        "items": [world.items[name] for name in SOURCES],
    }
    made = run(IndexBuilder(), folder, inputs, **{"top_m": TOP_M} | parameters)
    return finished(made, "index")


@pytest.fixture(scope="module")
def index(world: World, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return build(world, tmp_path_factory.mktemp("index") / "made")


def source_vectors(world: World) -> np.ndarray:
    texts = [text for found in SOURCES.values() for text in ordered(found)]
    vectors = world.encoder.encode(texts)
    vectors[find_untitled(texts)] = 0
    return vectors


def generate(world: World, index: Artifact, folder: Path, **more: Any) -> Artifact:
    inputs = {
        "index": index,
        "inference_result": more.pop("result", world.results["office"]),
        "items": more.pop("items", world.items["office"]),
        "model": world.trained,
        "previous": more.pop("previous", []),
    }
    made = run(EmbeddingGenerator(), folder, inputs, **{"top_m": TOP_M} | more)
    return finished(made, "embeddings")


def expected(world: World, target: dict[str, str], norm: Any = "none") -> Any:
    texts = ordered(target)
    vectors, untitled = world.encoder.encode(texts), find_untitled(texts)
    vectors[untitled] = 0
    exact = build_index(source_vectors(world), "exact", TOP_M)
    table = world.model.item_vectors().numpy()[1:]
    return generate_embeddings(vectors, exact, table, top_m=TOP_M, norm=norm, untitled=untitled)


def as_domain(name: str, found: dict[str, str]) -> Domain:
    nobody = Sequences(np.zeros(0, np.int32), np.zeros(1, np.int64))
    return Domain(name, IdMap(sorted(found)), ordered(found), [], nobody, {})


def test_title_vectors_lie_beside_embeddings(world: World, index: Artifact, tmp_path: Path) -> None:
    made = generate(world, index, tmp_path / "made")
    texts = ordered(TARGET)
    vectors = world.encoder.encode(texts)
    vectors[find_untitled(texts)] = 0
    found = np.load(made.uri / "title_vectors.npy")
    np.testing.assert_allclose(found, vectors, atol=1e-5)


def test_exact_index(world: World, index: Artifact) -> None:
    vectors = np.load(index.uri / "vectors.npy")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, source_vectors(world), atol=1e-5)
    items = pl.read_parquet(index.uri / "items.parquet")
    rows = [(name, i, found[i]) for name, found in SOURCES.items() for i in sorted(found)]
    assert items.columns == ["domain", "item_id", "title"] and items.rows() == rows
    figures = {"retrieval": "exact", "items": 55, "width": world.encoder.width, "recall": 1.0}
    assert {name: index.properties[name] for name in figures} == figures
    assert not (index.uri / "Format-Serving").exists()


def test_scann_index_answers_as_numpy_does(world: World, tmp_path: Path) -> None:
    """So small a catalogue is searched whole, so that ScaNN misses next to nothing."""
    made = build(world, tmp_path, retrieval="scann")
    assert made.properties["recall"] > 0.9
    queries = world.encoder.encode(ordered(TARGET))[2:]
    loaded = ItemIndex.load(made.uri)
    scores = queries @ np.load(made.uri / "vectors.npy").T
    best = np.sort(scores, axis=1)[:, ::-1][:, :3]
    found = loaded.query(queries, 3)
    np.testing.assert_allclose(
        found.scores, np.take_along_axis(scores, found.rows, axis=1), atol=1e-5
    )
    assert np.mean(found.scores >= best[:, -1:] - 1e-5) > 0.9
    np.testing.assert_array_equal(ItemIndex.load(made.uri).query(queries, 3).rows, found.rows)
    with pytest.raises(SettingsError, match="built for 4"):
        loaded.query(queries, 5)


def test_inputs_that_do_not_fit_together(world: World, tmp_path: Path) -> None:
    results, items = world.results, world.items
    with pytest.raises(DataError, match="same order"):
        inputs = {"inference_result": results["music"], "items": items["home"]}
        run(IndexBuilder(), tmp_path / "1", inputs)
    renamed = Artifact(items["home"].type, items["home"].uri, "", {"domain": "music"})
    with pytest.raises(DataError, match="of other items"):
        run(
            IndexBuilder(),
            tmp_path / "2",
            {"inference_result": results["music"], "items": renamed},
        )
    retitled = SOURCES["music"] | {"1-3": "another title"}
    changed = write_items(tmp_path / "items", titled(retitled), "music")
    with pytest.raises(DataError, match="'1-3' has another title"):
        run(
            IndexBuilder(),
            tmp_path / "4",
            {"inference_result": results["music"], "items": changed},
        )
    with pytest.raises(SettingsError, match="only 55 source items"):
        build(world, tmp_path / "3", top_m=56)


@pytest.mark.parametrize("norm", ["none", "matches"])
def test_embeddings_are_the_librarys(
    world: World, index: Artifact, tmp_path: Path, norm: str
) -> None:
    made = generate(world, index, tmp_path / "made", norm=norm)
    wanted = expected(world, TARGET, norm)
    np.testing.assert_allclose(np.load(made.uri / "embeddings.npy"), wanted.embeddings, atol=1e-5)
    assert pl.read_parquet(made.uri / "items.parquet")["item_id"].to_list() == sorted(TARGET)
    file = tmp_path / "matches.parquet"
    sources = MergedDomains.of([as_domain(*pair) for pair in SOURCES.items()])
    write_matches(file, wanted, as_domain("office", TARGET), sources)
    found, library = (pl.read_parquet(path) for path in (made.uri / "matches.parquet", file))
    assert found.schema == library.schema
    texts = ["target_item", "source_item", "source_domain", "target_title", "source_title"]
    assert found.select(texts).rows() == library.select(texts).rows()
    for name in ("score", "weight"):
        np.testing.assert_allclose(found[name], library[name], atol=1e-5)
    properties = made.properties
    assert (properties["items"], properties["generated"], properties["reused"]) == (20, 20, 0)
    assert properties["untitled"] == 1
    titled_scores = wanted.scores[~wanted.untitled]
    assert properties["mean_best_score"] == pytest.approx(titled_scores[:, 0].mean(), abs=1e-5)
    assert sum(properties["share_by_source"].values()) == pytest.approx(1)


def test_only_new_titles_are_matched(world: World, index: Artifact, tmp_path: Path) -> None:
    first = generate(world, index, tmp_path / "first")
    changed = TARGET | {"3-0": "star star desk", "3-new": "bow", "0": "black violin"}
    items = write_items(tmp_path / "items", titled(changed), "office")
    office = [world.results["office"]]
    result = infer(tmp_path / "vectors", world.encoder_model, items, office)
    more = {"items": items, "result": result}
    second = generate(world, index, tmp_path / "second", previous=[first], **more)
    assert (second.properties["generated"], second.properties["reused"]) == (3, 19)
    np.testing.assert_allclose(
        np.load(second.uri / "embeddings.npy"), expected(world, changed).embeddings, atol=1e-5
    )
    # Kept are the last run's, and not what asking again would give.
    with np.load(first.uri / "matches.npz") as stored:
        np.savez(first.uri / "matches.npz", scores=stored["scores"] * 0 + 0.5, rows=stored["rows"])
    third = generate(world, index, tmp_path / "third", previous=[first], **more)
    kept = pl.read_parquet(third.uri / "matches.parquet").filter(target_item="3-5")
    assert kept["score"].to_list() == [0.5] * TOP_M


def test_another_index_keeps_nothing(world: World, index: Artifact, tmp_path: Path) -> None:
    first = generate(world, index, tmp_path / "first")
    other = Artifact(index.type, index.uri, "another", index.properties)
    assert generate(world, other, tmp_path / "2", previous=[first]).properties["reused"] == 0
    fewer = generate(world, index, tmp_path / "3", previous=[first], top_m=2)
    assert fewer.properties["reused"] == 0
    (first.uri / "matches.npz").write_bytes(b"torn")
    with pytest.raises(DataError, match="damaged"):
        generate(world, index, tmp_path / "4", previous=[first])


def test_a_model_of_other_items_is_refused(world: World, index: Artifact, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    folder.mkdir()
    for file in index.uri.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    items = pl.read_parquet(folder / "items.parquet")
    items.with_columns(item_id=pl.col("item_id") + "x").write_parquet(folder / "items.parquet")
    changed = Artifact(index.type, folder, "changed", index.properties)
    with pytest.raises(DataError, match="no item '1-0x' of 'music'"):
        generate(world, changed, tmp_path / "made")
    assert json.loads((folder / "index.json").read_text())["retrieval"] == "exact"
