"""Requests in batches: each gets its own rows, in TF-Serving's sizes, codes and words."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from batched_model import (
    SIGNATURE,
    BatchedModel,
    answer,
    ask,
    occupy,
    rows,
    with_batcher,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.server.batching import RequestBatcher
from serving.server.batching_parameters import BatchingParameters
from serving.server.metrics import Metrics
from serving.server.request_checks import RequestError

MANY = 1_000


@st.composite
def parameters_and_sizes(draw: st.DrawFn) -> tuple[BatchingParameters, list[int]]:
    """Any parameters under which no request is too large and no queue full."""
    most = draw(st.integers(1, 12))
    allowed = draw(st.sets(st.integers(1, most)).map(lambda sizes: sorted({*sizes, most})))
    splits = draw(st.booleans())
    parameters = BatchingParameters(
        max_batch_size=most,
        batch_timeout_micros=draw(st.sampled_from([0, 300])),
        max_enqueued_batches=MANY,
        num_batch_threads=draw(st.integers(1, 3)),
        allowed_batch_sizes=tuple(draw(st.sampled_from([[], allowed]))),
        enable_large_batch_splitting=splits,
        max_execution_batch_size=draw(st.integers(1, most)) if splits else None,
    )
    return parameters, draw(st.lists(st.integers(0, most), max_size=30))


@settings(max_examples=150, deadline=None)
@given(parameters_and_sizes(), st.integers(0, 3))
def test_each_request_gets_its_own_rows(
    case: tuple[BatchingParameters, list[int]], turns_between: int
) -> None:
    parameters, sizes = case
    model = BatchedModel()
    starts = [sum(sizes[:i]) for i in range(len(sizes))]

    async def act(batcher: RequestBatcher) -> list[dict[str, np.ndarray]]:
        asked = []
        for start, size in zip(starts, sizes, strict=True):
            asked.append(ask(batcher, model, rows(start, size)))
            for _ in range(turns_between):
                await asyncio.sleep(0)
        return await asyncio.gather(*asked)

    answers = with_batcher(parameters, act)
    for start, size, got in zip(starts, sizes, answers, strict=True):
        assert {name: array.tolist() for name, array in got.items()} == answer(start, size)
    check_batches(parameters, model, sum(sizes))


def check_batches(parameters: BatchingParameters, model: BatchedModel, count: int) -> None:
    allowed = parameters.allowed_batch_sizes
    limit = parameters.max_batch_size if allowed else parameters.batch_limit
    seen: list[int] = []
    for batch in model.batches:
        numbers = batch["number"]
        assert len(numbers) <= limit
        assert not numbers or not allowed or len(numbers) in allowed
        seen += dict.fromkeys(numbers)
        assert batch["text"] == [b"t%d" % n for n in numbers]
    # None is lost, none runs twice; one thread runs them in the order in which they came.
    assert sorted(seen) == list(range(count))
    if parameters.num_batch_threads == 1:
        assert seen == sorted(seen)
    assert model.most_at_once <= parameters.num_batch_threads


def packed(sizes: Sequence[int], limit: int) -> list[int]:
    """Rows of each batch: a request joins the last one, or begins another."""
    batches: list[int] = []
    for size in sizes:
        if batches and batches[-1] + size <= limit:
            batches[-1] += size
        else:
            batches.append(size)
    return batches


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), max_size=25))
def test_packing_while_the_thread_is_busy(sizes: list[int]) -> None:
    model = BatchedModel(held=True)

    async def act(batcher: RequestBatcher) -> None:
        first = await occupy(batcher, model)
        asked = [ask(batcher, model, rows(0, size)) for size in sizes]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, *asked)

    with_batcher(parameters(max_batch_size=9), act)
    assert model.sizes == packed(sizes, 9)


def parameters(**more: Any) -> BatchingParameters:
    """One thread, batches of 4 rows, room for many."""
    given = {"max_batch_size": 4, "num_batch_threads": 1, "max_enqueued_batches": MANY}
    return BatchingParameters(**(given | more))


def numbers_of(model: BatchedModel) -> list[list[int]]:
    return [batch["number"] for batch in model.batches]


def test_padding_repeats_the_last_requests_first_row() -> None:
    model = BatchedModel(held=True)

    async def act(batcher: RequestBatcher) -> None:
        first = await occupy(batcher, model)
        asked = [ask(batcher, model, rows(10, 2)), ask(batcher, model, rows(20, 3))]
        await asyncio.sleep(0)
        model.gate.set()
        got = await asyncio.gather(first, *asked)
        assert got[1]["square"].tolist() == [100, 121]
        assert got[2]["square"].tolist() == [400, 441, 484]

    with_batcher(parameters(max_batch_size=8, allowed_batch_sizes=(2, 8)), act)
    assert numbers_of(model) == [[10, 11, 20, 21, 22, 20, 20, 20]]


def test_outputs_come_in_the_order_asked_for_and_share_a_batch_in_any() -> None:
    model = BatchedModel(held=True)

    async def act(batcher: RequestBatcher) -> list[list[str]]:
        first = await occupy(batcher, model)
        asked = [
            ask(batcher, model, rows(0, 1), outputs=["round", "square"]),
            ask(batcher, model, rows(1, 1), outputs=["square", "round"]),
            ask(batcher, model, rows(2, 1), outputs=["square"]),
        ]
        await asyncio.sleep(0)
        model.gate.set()
        await first
        return [list(got) for got in await asyncio.gather(*asked)]

    names = with_batcher(parameters(), act)
    assert names == [["round", "square"], ["square", "round"], ["square"]]
    assert numbers_of(model) == [[0, 1], [2]]


def test_models_take_turns_and_share_no_batch() -> None:
    gate, other = BatchedModel(held=True), BatchedModel()
    order: list[str] = []
    one = BatchedModel()
    for name, model in (("one", one), ("other", other)):
        model.compute = lambda _, arrays, name=name: order.append(name) or arrays["number"]

    async def act(batcher: RequestBatcher) -> None:
        first = await occupy(batcher, gate)
        asked = [ask(batcher, m, rows(0, 4), outputs=["n"]) for m in (one, one, one, other, other)]
        await asyncio.sleep(0)
        gate.gate.set()
        await asyncio.gather(first, *asked)

    with_batcher(parameters(), act)
    assert order == ["one", "other", "one", "other", "one"]


def test_as_many_batches_run_at_once_as_there_are_threads() -> None:
    model, barrier = BatchedModel(), threading.Barrier(2, timeout=20)
    model.compute = lambda _, arrays: barrier.wait() * 0 + arrays["number"]

    async def act(batcher: RequestBatcher) -> None:
        await asyncio.gather(*(ask(batcher, model, rows(0, 4), outputs=["n"]) for _ in range(4)))

    with_batcher(parameters(num_batch_threads=2), act)
    assert model.most_at_once == 2


def test_a_batch_waits_for_its_timeout_unless_it_is_full() -> None:
    model = BatchedModel()

    async def act(batcher: RequestBatcher) -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.gather(ask(batcher, model, rows(0, 3)), ask(batcher, model, rows(3, 1)))
        full = loop.time() - begun
        await ask(batcher, model, rows(4, 3))
        return full, loop.time() - begun - full

    full, waited = with_batcher(parameters(batch_timeout_micros=1_000_000), act)
    assert model.sizes == [4, 3]
    assert full < 1 <= waited + 0.001


def test_closing_runs_what_waits() -> None:
    model = BatchedModel()

    async def act() -> dict[str, np.ndarray]:
        batcher = RequestBatcher(parameters(batch_timeout_micros=3_600_000_000), Metrics())
        asked = ask(batcher, model, rows(7, 1))
        await asyncio.sleep(0)
        await batcher.close()
        return await asyncio.wait_for(asked, 10)

    assert asyncio.run(act())["square"].tolist() == [49]


def test_large_requests_are_split_where_that_is_on() -> None:
    model = BatchedModel(held=True)

    async def act(batcher: RequestBatcher) -> list[int]:
        first = await occupy(batcher, model)
        asked = [ask(batcher, model, rows(0, 3)), ask(batcher, model, rows(3, 10))]
        await asyncio.sleep(0)
        model.gate.set()
        await first
        return [*(await asked[0])["square"], *(await asked[1])["square"]]

    split = parameters(
        max_batch_size=10, enable_large_batch_splitting=True, max_execution_batch_size=4
    )
    assert with_batcher(split, act) == [n * n for n in range(13)]
    assert numbers_of(model) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12]]


def test_who_is_gone_or_late_does_not_run() -> None:
    model = BatchedModel(held=True)

    async def act(batcher: RequestBatcher) -> None:
        first = await occupy(batcher, model)
        gone, late, kept = (ask(batcher, model, rows(10 * i, 1)) for i in (1, 2, 3))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(late, 0.05)
        gone.cancel()
        model.gate.set()
        await first
        assert (await kept)["square"].tolist() == [900]
        with pytest.raises(asyncio.CancelledError):
            await gone

    with_batcher(parameters(), act)
    assert numbers_of(model) == [[30]]


def test_a_batch_that_nobody_waits_for_does_not_run() -> None:
    model = BatchedModel(held=True)

    async def act(batcher: RequestBatcher) -> None:
        first = await occupy(batcher, model)
        gone = [ask(batcher, model, rows(i, 1)) for i in range(3)]
        await asyncio.sleep(0)
        for request in gone:
            request.cancel()
        model.gate.set()
        await asyncio.gather(first, *gone, return_exceptions=True)
        assert (await ask(batcher, model, rows(9, 1)))["square"].tolist() == [81]

    with_batcher(parameters(), act)
    assert numbers_of(model) == [[9]]


def test_a_batch_that_was_left_while_it_runs_disturbs_no_other() -> None:
    model = BatchedModel(held=True)

    async def act(batcher: RequestBatcher) -> None:
        first = await occupy(batcher, model)
        first.cancel()
        second = ask(batcher, model, rows(3, 1))
        await asyncio.sleep(0)
        model.gate.set()
        assert (await second)["square"].tolist() == [9]

    with_batcher(parameters(), act)


@pytest.mark.parametrize(
    ("more", "size", "message"),
    [
        (
            {},
            2,
            "The batch scheduling queue to which this task was submitted is full; currently 2 "
            "batches enqueued and max_enqueued_batches is 2",
        ),
        (
            {"enable_large_batch_splitting": True, "max_execution_batch_size": 2},
            4,
            "The batch scheduling queue to which this task was submitted is full; task size is 4 "
            "but scheduling capacity is only 1 (num_enqueued_batches=2, max_enqueued_batches=2, "
            "open_batch_size=1, max_execution_batch_size=2)",
        ),
    ],
    ids=["whole", "split"],
)
def test_a_full_queue(more: dict[str, Any], size: int, message: str) -> None:
    model = BatchedModel(held=True)

    async def act(batcher: RequestBatcher) -> None:
        first = await occupy(batcher, model)
        asked = [ask(batcher, model, rows(0, n)) for n in ((3,) if more else (4, 3))]
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as caught:
            await ask(batcher, model, rows(0, size))
        assert (caught.value.code.name, caught.value.message) == ("UNAVAILABLE", message)
        # One row still fits, and what was let in is answered.
        asked.append(ask(batcher, model, rows(5, 1)))
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, *asked)

    with_batcher(parameters(max_enqueued_batches=2, **more), act)
    assert model.sizes == ([2, 2] if more else [4, 4])


SCALAR = {"number": np.array(3), "text": np.array([b"a"], object)}
UNEQUAL = {"number": np.arange(2), "text": np.array([b"a"], object)}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "Batching Run() must have at least one input tensor"),
        (SCALAR, "Batching Run() input tensors must have at least one dimension"),
        (UNEQUAL, "Batching Run() input tensors must have equal 0th-dimension size"),
        (rows(0, 5), "Task size 5 is larger than maximum input batch size 4"),
    ],
    ids=["none", "scalar", "unequal", "large"],
)
def test_requests_that_are_no_batch(arrays: dict[str, np.ndarray], message: str) -> None:
    model = BatchedModel()

    async def act(batcher: RequestBatcher) -> None:
        with pytest.raises(RequestError) as caught:
            await batcher.run(model, SIGNATURE, arrays, ["square"])
        assert (caught.value.code.name, caught.value.message) == ("INVALID_ARGUMENT", message)

    with_batcher(parameters(), act)
    assert model.batches == []
