"""The served matcher against NumPy (eq. 8 and 9) and against the library."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from idp_tf.errors import ServingError, SettingsError
from idp_tf.retrieval import Index, build_index
from idp_tf.text import TextEncoder
from idp_tf.transfer.generate import find_untitled, generate_embeddings
from idp_tf.transfer.initializer import MatchedEmbeddings
from serving.client import ServingClient
from serving.export import SourceItems, export_matcher
from serving.export.ranking import match_ranker

MODELS = ("matcher", "matcher_scann")
TOP_M = 4
TITLES = [
    "green tea",
    "Red guitar case",
    "unheard of",
    "",
    "tea tea tea tea tea tea tea tea tea tea",
    " \t\u00a0",
    "Té «vert» 绿茶",
]
BLANK = [3, 5]


@pytest.mark.parametrize("model", MODELS)
def test_answers_equal_eq_8_and_9(
    client: ServingClient,
    encoder: TextEncoder,
    source_titles: list[str],
    source_ids: list[str],
    source_embeddings: np.ndarray,
    model: str,
) -> None:
    vectors, sources = encoder.encode(TITLES), encoder.encode(source_titles)
    for place, answer in enumerate(client.match(TITLES, model)):
        if place in BLANK:
            continue
        similarity = sources @ vectors[place]
        best = np.argsort(-similarity, kind="stable")[:TOP_M]
        assert answer.source_item_ids == [source_ids[row] for row in best]
        np.testing.assert_allclose(answer.scores, similarity[best], atol=1e-5)
        weights = np.maximum(similarity[best], 0)
        weights = weights / weights.sum() if weights.sum() > 0 else np.full(TOP_M, 1 / TOP_M)
        np.testing.assert_allclose(answer.weights, weights, atol=1e-5)
        blend = weights @ source_embeddings[best]
        length = weights @ np.linalg.norm(source_embeddings[best], axis=1)
        blend *= length / np.linalg.norm(blend)
        np.testing.assert_allclose(answer.embedding, blend, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_a_blank_title_gets_the_mean(
    client: ServingClient, source_embeddings: np.ndarray, model: str
) -> None:
    mean = source_embeddings.mean(axis=0)
    mean *= np.linalg.norm(source_embeddings, axis=1).mean() / np.linalg.norm(mean)
    outputs = client.predict(model, {"titles": np.array(TITLES, dtype=object)})
    for place in BLANK:
        np.testing.assert_allclose(outputs["embedding"][place], mean, atol=1e-5)
        assert outputs["source_item_ids"][place].tolist() == [b""] * TOP_M
        assert outputs["weights"][place].tolist() == [0.0] * TOP_M
        assert outputs["scores"][place].tolist() == [0.0] * TOP_M
    assert client.match([""], model)[0].source_item_ids == []


@pytest.mark.parametrize("model", MODELS)
def test_answers_equal_the_library(
    client: ServingClient,
    encoder: TextEncoder,
    indexes: dict[str, Index],
    source_ids: list[str],
    source_embeddings: np.ndarray,
    exports: Path,
    model: str,
) -> None:
    expected = generate_embeddings(
        encoder.encode(TITLES),
        indexes[model],
        source_embeddings,
        top_m=TOP_M,
        norm="matches",
        untitled=find_untitled(TITLES),
    )
    outputs = client.predict(model, {"titles": np.array(TITLES, dtype=object)})
    names = np.array(["", *source_ids], dtype=object)[expected.rows + 1]
    served = [[item.decode() for item in row] for row in outputs["source_item_ids"]]
    assert served == names.tolist()
    np.testing.assert_allclose(outputs["scores"], expected.scores, atol=1e-5)
    np.testing.assert_allclose(outputs["weights"], expected.weights, atol=1e-5)
    np.testing.assert_allclose(outputs["embedding"], expected.embeddings, atol=1e-4)
    initial = MatchedEmbeddings.from_saved_model(exports / model / "1", TITLES)
    np.testing.assert_allclose(initial.embeddings, expected.embeddings, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_no_titles(client: ServingClient, model: str) -> None:
    assert client.match([], model) == []


@pytest.mark.parametrize("model", MODELS)
def test_bytes_that_are_no_text(client: ServingClient, model: str) -> None:
    titles = np.array([b"green \xff tea"], dtype=object)
    assert np.isfinite(client.predict(model, {"titles": titles})["embedding"]).all()


def test_scann_is_answered_exactly_where_it_finds_too_few() -> None:
    """k is more than the leaves that are searched hold."""
    vectors = np.random.default_rng(3).normal(size=(6_000, 8)).astype(np.float32)
    k = 5_900
    index = build_index(vectors, "scann", k)
    queries = vectors[:2]
    scores, rows = match_ranker(index)(queries, k)
    products = queries @ vectors.T
    np.testing.assert_allclose(scores, -np.sort(-products, axis=1)[:, :k], atol=1e-5)
    np.testing.assert_allclose(
        scores, np.take_along_axis(products, rows.numpy(), axis=1), atol=1e-5
    )


@pytest.mark.parametrize("model", MODELS)
def test_matches_have_titles_and_domains(
    client: ServingClient, source_ids: list[str], source_titles: list[str], model: str
) -> None:
    outputs = client.predict(model, {"titles": np.array(["green tea", ""], dtype=object)})
    found = [name.decode() for name in outputs["source_item_ids"][0]]
    titles = [source_titles[source_ids.index(name)] for name in found]
    assert titles[0] == "green tea"
    assert [title.decode() for title in outputs["source_titles"][0]] == titles
    domains = [name.partition(":")[0] for name in found]
    assert [name.decode() for name in outputs["source_domains"][0]] == domains
    for name in ("source_titles", "source_domains"):
        assert outputs[name][1].tolist() == [b""] * TOP_M


def test_what_does_not_fit(
    encoder: TextEncoder,
    indexes: dict[str, Index],
    source_items: SourceItems,
    source_embeddings: np.ndarray,
    tmp_path: Path,
) -> None:
    def export(items: SourceItems, embeddings: np.ndarray, top_m: int) -> None:
        index = indexes["matcher"]
        export_matcher(encoder, index, embeddings, items, tmp_path, top_m=top_m, norm="none")

    with pytest.raises(ServingError, match="49 of them for 50 indexed titles"):
        export(source_items, source_embeddings[1:], 2)
    fewer = dataclasses.replace(source_items, titles=source_items.titles[1:])
    with pytest.raises(ServingError, match="source_items.titles"):
        export(fewer, source_embeddings, 2)
    with pytest.raises(SettingsError, match="only 50 vectors"):
        export(source_items, source_embeddings, 51)
    assert list(tmp_path.iterdir()) == []
