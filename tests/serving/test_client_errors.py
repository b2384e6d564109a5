"""What cannot be asked, and answers that are none, in one kind of error."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from fake_server import KINDS, PREDICT, ask, ask_with, fake_server, predictor

from serving.client import AsyncServingClient, ServingClient, ServingClientError

pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize(
    ("arguments", "keywords", "problem"),
    [
        (("abc",), {}, "'abc' is one text, not a list"),
        ((["abc"],), {}, "row 0 of item_ids: 'abc' is one text"),
        (([["a"]], 3), {"exclude": "b"}, "exclude: 'b' is one text"),
        (([["a"]], 3), {"exclude": [["b"], ["c"]]}, "exclude has 2 lists for 1 histories"),
        (([["a"]], 3), {"allowed": []}, "allowed names no item for a history"),
        (([["a"], ["b"]], 3), {"allowed": [["c"], []]}, "allowed names no item for a history"),
        (([["a"]], [3, 4]), {}, "k has 2 numbers for 1 histories"),
        (([["a"]], [2**31]), {}, "k is 2147483648, which is no 32-bit number"),
        (([[1]],), {}, "input item_ids: not an array of strings"),
    ],
)
def test_what_cannot_be_sent(
    arguments: tuple[Any, ...], keywords: dict[str, Any], problem: str, kind: str
) -> None:
    with pytest.raises(ServingClientError) as caught:
        ask_with(kind, "127.0.0.1:1", lambda client: client.recommend(*arguments, **keywords))
    assert problem in caught.value.message and caught.value.code == ""


@pytest.mark.parametrize(
    ("examples", "problem"),
    [
        ([{"x": "one text"}], "feature x is one text"),
        ([{"x": ["a", 1]}], "feature x holds int, str"),
        ([{"x": [None]}], "feature x holds NoneType"),
    ],
)
def test_features_that_are_none(examples: Any, problem: str, kind: str) -> None:
    with pytest.raises(ServingClientError, match=problem):
        ask(kind, "127.0.0.1:1", "classify", "m", examples)


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        ({"x": [1.0]}, "no output 'item_ids', only x: is it the right"),
        ({"item_ids": [["a"]], "scores": [1.0]}, r"'scores' has the shape \(1,\), not a row for"),
        ({"item_ids": [[1]], "scores": [[1.0]]}, "int32 where texts should be"),
        ({"item_ids": [["a"]], "scores": [[1.0, 2.0]]}, "longer"),
        ({"item_ids": [["a"], ["b"]], "scores": [[1.0]]}, "shorter"),
        ({"item_ids": [[b"\xff"]], "scores": [[1.0]]}, "can't decode"),
    ],
)
def test_an_answer_of_another_model(outputs: dict[str, Any], problem: str, kind: str) -> None:
    with (
        fake_server({PREDICT: predictor(**outputs)}) as address,
        pytest.raises(ServingClientError, match=problem),
    ):
        ask(kind, address, "recommend", [["a"]])


def test_fewer_scores_than_candidates(kind: str) -> None:
    with (
        fake_server({PREDICT: predictor(scores=[[-np.inf, 1.0]])}) as address,
        pytest.raises(ServingClientError, match="1 scores for 2 candidates"),
    ):
        ask(kind, address, "score", [["a"]], ["b", "c"])


def test_an_answer_that_is_no_message(kind: str) -> None:
    with (
        fake_server({PREDICT: lambda request, context: b"\xff\xff"}) as address,
        pytest.raises(ServingClientError, match="the answer is no PredictResponse"),
    ):
        ask(kind, address, "recommend", [["a"]])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_in_flight": -1}, "max_in_flight is -1"),
        ({"keepalive": 0}, "keepalive is 0"),
        ({"compression": "zip"}, "compression is 'zip'"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], problem: str, kind: str) -> None:
    with pytest.raises(ServingClientError, match=problem):
        ask(kind, "127.0.0.1:1", "health", **options)


def test_a_closed_client(kind: str) -> None:
    async def go() -> None:
        client = AsyncServingClient("127.0.0.1:1")
        await client.close()
        await client.health()

    def wait() -> None:
        client = ServingClient("127.0.0.1:1")
        client.close()
        client.health()

    with pytest.raises(ServingClientError, match="this client is closed"):
        wait() if kind == "blocking" else asyncio.run(go())
