"""The client: what it returns, and what it says when there is no answer."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from serving.client import (
    AsyncServingClient,
    ModelSpec,
    ServingClient,
    ServingClientError,
    VersionStatus,
)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(ServingClientError) as caught, ServingClient(address, 5) as client:
        client.recommend([["a"]], 1)
    assert time.monotonic() - began < 6
    assert caught.value.code == "UNAVAILABLE"
    text = str(caught.value)
    assert text.startswith(f"{address}: UNAVAILABLE: no server answers here")
    assert "idp-tf serve --model_config_file" in text


def test_a_server_that_says_nothing(silent_port: int) -> None:
    began = time.monotonic()
    with (
        ServingClient(f"127.0.0.1:{silent_port}", 0.5) as client,
        pytest.raises(ServingClientError) as caught,
    ):
        client.status("recommender")
    assert time.monotonic() - began < 3
    assert caught.value.code in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
    assert f"127.0.0.1:{silent_port}" in str(caught.value)


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":8500", "host:http", "host:0"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ServingClientError, match="write HOST:PORT"):
        ServingClient(address)


def test_the_server_s_own_words(client: ServingClient) -> None:
    with pytest.raises(ServingClientError) as caught:
        client.predict("nothing", {})
    assert caught.value.code == "NOT_FOUND"
    assert caught.value.message == "Servable not found for request: Latest(nothing)"
    assert caught.value.address == client.address


def test_histories_of_several_lengths_give_what_each_gives_alone(client: ServingClient) -> None:
    histories = [["item-1"], ["item-2", "item-3", "item-4"]]
    together = client.recommend(histories, 4)
    for answer, history in zip(together, histories, strict=True):
        (alone,) = client.recommend([history], 4)
        assert [item for item, _ in answer] == [item for item, _ in alone]
        np.testing.assert_allclose([s for _, s in answer], [s for _, s in alone], atol=1e-6)


def test_no_histories(client: ServingClient) -> None:
    assert client.recommend([], 4) == []


def test_a_k_beyond_32_bits(client: ServingClient) -> None:
    with pytest.raises(ServingClientError, match="no 32-bit number"):
        client.recommend([["item-1"]], 2**31)


def test_a_k_that_is_no_whole_number(client: ServingClient) -> None:
    with pytest.raises(ServingClientError, match="k is 2.5, which is no whole number"):
        client.recommend([["item-1"]], 2.5)  # type: ignore[arg-type]


def test_inputs_that_are_no_tensor(client: ServingClient) -> None:
    with pytest.raises(ServingClientError, match="input item_ids"):
        client.predict("recommender", {"item_ids": [["a"], ["b", "c"]], "k": np.int32(1)})


def test_status_and_metadata(client: ServingClient) -> None:
    assert client.status("recommender") == [VersionStatus(1, "AVAILABLE", "")]
    signature = client.metadata("recommender")["serving_default"]
    assert signature["inputs"] == {
        "item_ids": {"dtype": "DT_STRING", "shape": [-1, -1]},
        "k": {"dtype": "DT_INT32", "shape": []},
    }
    assert signature["outputs"]["scores"] == {"dtype": "DT_FLOAT", "shape": [-1, -1]}


def test_a_version_and_a_label() -> None:
    with pytest.raises(ValueError, match="not both"):
        ModelSpec("m", 1, "stable")


def test_asyncio_gives_the_same(client: ServingClient) -> None:
    histories = [["item-1"], ["item-2", "item-3", "item-4"]]

    async def ask() -> list[list[tuple[str, float]]]:
        async with AsyncServingClient(client.address, timeout=30) as asking:
            return await asking.recommend(histories, 4)

    assert asyncio.run(ask()) == client.recommend(histories, 4)
