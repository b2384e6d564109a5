"""The exports in a server that batches, by the parameters that they bring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.client import ServingClient, ServingClientError
from serving.query import query
from serving.server import ModelServer
from serving.server.batching_parameters import read_batching_parameters
from serving.server.loaded_model import LoadedModel

Expect = Callable[[Sequence[str], int], list[tuple[str, float]]]
MODELS = [
    name + form for name in ("recommender", "matcher", "cold_start") for form in ("", "_scann")
]


@pytest.mark.parametrize("name", MODELS)
def test_the_warm_up_can_be_batched(exports: Path, name: str) -> None:
    """A server that batches fails a version of which a warm-up request cannot be."""
    version = exports / name / "1"
    batching = read_batching_parameters(version / "assets.extra/batching_parameters.txt")
    LoadedModel(version, (1, 1), batching=batching).close()


@pytest.fixture(scope="module")
def client(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingClient]:
    """A client of a server that batches, requests of other widths too."""
    brought = exports / "recommender/1/assets.extra/batching_parameters.txt"
    parameters = tmp_path_factory.mktemp("batching") / "parameters.txt"
    parameters.write_text(
        brought.read_text().replace("length_inputs: false", "length_inputs: true")
    )
    with (
        ModelServer(
            exports / "models.config",
            port=0,
            enable_batching=True,
            batching_parameters_file=str(parameters),
        ) as server,
        ServingClient(server.address, timeout=60) as client,
    ):
        yield client


def test_each_client_gets_its_own_answer(client: ServingClient, expect: Expect) -> None:
    """Histories of other lengths, another k each, and one user who is unknown."""
    histories = [[f"item-{i + j}" for j in range(1 + i % 4)] for i in range(40)]
    histories[7] = ["nobody"]

    def ask(user: int) -> list[tuple[str, float]]:
        return client.recommend([histories[user]], [1 + user % 9], "recommender")[0]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(40)))
    assert answers.pop(7) == []
    users = [user for user in range(40) if user != 7]
    for user, answer in zip(users, answers, strict=True):
        expected = expect(histories[user], 1 + user % 9)
        assert [item for item, _ in answer] == [item for item, _ in expected]
        assert [score for _, score in answer] == pytest.approx([s for _, s in expected], abs=1e-5)


def test_a_call_of_many_rows(client: ServingClient, expect: Expect) -> None:
    """By the client's defaults no request is larger than the server takes."""
    histories = [[f"item-{i % 50}"] for i in range(70)]
    answers = client.recommend(histories, [2] * 70, "recommender")
    told = [[item for item, _ in answer] for answer in answers]
    assert told == [[item for item, _ in expect(history, 2)] for history in histories]


def test_a_scalar_cannot_be_batched(client: ServingClient) -> None:
    """tensorflow_serving/batching/batching_util.h, ComputeTensorBatchSize."""
    with pytest.raises(ServingClientError, match="must have at least one dimension"):
        client.recommend([["item-1"]], 3, "recommender")


def test_a_question_from_the_command_line(client: ServingClient, expect: Expect) -> None:
    """It has one k, which this server takes for each row alone."""
    answer = query(client.address, ["item-1"], 3)
    assert [item for item, _ in answer] == [item for item, _ in expect(["item-1"], 3)]
