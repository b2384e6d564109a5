"""What is served is what was evaluated: the same model, the same order, the same scores."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_world import NUM_ITEMS, NUM_USERS, TARGET

from idp_tf.models import load_model
from idp_tf.workflow.run import items_file, load_run
from serving.client import ServingClient
from serving.server import ModelServer

K = 10
USERS = range(0, NUM_USERS, 7)


@pytest.fixture(scope="module")
def client(finished: Path) -> Iterator[ServingClient]:
    with (
        ModelServer(
            finished / "export/models.config", port=0, tensorflow_session_parallelism=1
        ) as server,
        ServingClient(server.address, timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def histories(finished: Path) -> list[list[str]]:
    """What every user had before the test item, by external ids."""
    folder = finished / "data" / TARGET
    values, offsets = np.load(folder / "sequences.npy"), np.load(folder / "offsets.npy")
    names = ["", *pl.read_parquet(folder / "items.parquet")["item_id"]]
    return [
        [names[item] for item in values[first : last - 1]]
        for first, last in itertools.pairwise(offsets)
    ]


@pytest.mark.parametrize("name", ["recommender", "recommender_scann"])
def test_recommendations_are_the_evaluated_ranking(
    name: str, client: ServingClient, histories: list[list[str]], finished: Path
) -> None:
    folder = finished / "target" / TARGET
    model = load_model(folder / "systems/idp/seed-0/model")
    names = pl.read_parquet(finished / "data" / TARGET / "items.parquet")["item_id"].to_list()
    vectors = model.item_vectors().numpy()[1:]
    answers = client.recommend([histories[user] for user in USERS], NUM_ITEMS, model=name)
    for user, answer in zip(USERS, answers, strict=True):
        known = [names.index(item) + 1 for item in histories[user]]
        window = ([0] * model.max_length + known)[-model.max_length :]
        scores = vectors @ model.encode_users(np.array([window], np.int32)).numpy()[0]
        unseen = [item for item in range(NUM_ITEMS) if item + 1 not in known]
        expected = sorted(unseen, key=lambda item: -scores[item])[:K]
        assert [item for item, _ in answer[:K]] == [names[item] for item in expected]
        np.testing.assert_allclose(
            [score for _, score in answer[:K]], scores[expected], rtol=0, atol=1e-5
        )


def test_the_rank_of_the_test_item_is_its_place_in_the_answer(
    client: ServingClient, histories: list[list[str]], finished: Path
) -> None:
    folder = finished / "data" / TARGET
    values, offsets = np.load(folder / "sequences.npy"), np.load(folder / "offsets.npy")
    names = ["", *pl.read_parquet(folder / "items.parquet")["item_id"]]
    ranks = np.load(finished / f"target/{TARGET}/evaluation/idp/seed-0/ranks.npz")["full"]
    answers = client.recommend([histories[user] for user in USERS], NUM_ITEMS)
    for user, answer in zip(USERS, answers, strict=True):
        wanted = names[values[offsets[user + 1] - 1]]
        assert [item for item, _ in answer].index(wanted) + 1 == ranks[user]


@pytest.mark.parametrize("name", ["matcher", "matcher_scann"])
def test_the_served_matcher_generates_the_stored_embeddings(
    name: str, client: ServingClient, finished: Path
) -> None:
    titles = pl.read_parquet(finished / "data" / TARGET / "items.parquet")["title"].to_list()
    stored = np.load(finished / "target" / TARGET / "embeddings.npy")
    answers = client.match(titles, model=name)
    np.testing.assert_allclose([a.embedding for a in answers], stored, rtol=0, atol=1e-5)
    table = pl.read_parquet(finished / "target" / TARGET / "matches.parquet")
    first = table.group_by("target_item", maintain_order=True).first()
    served = [answer.source_item_ids[0] for answer in answers]
    assert served == (first["source_domain"] + ":" + first["source_item"]).to_list()


def test_the_run_of_a_workdir_is_read_back(finished: Path, world: Path) -> None:
    run = load_run(finished)
    assert run.config.data == world and isinstance(run.config.sources, tuple)
    before = (finished / "config.yaml").read_bytes()
    run.save_config()
    assert (finished / "config.yaml").read_bytes() == before
    assert load_run(finished).config == run.config
    assert items_file(finished) == finished / "data" / TARGET / "items.parquet"
    assert items_file(world) == world
