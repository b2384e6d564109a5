"""Batches whose requests, or whose answers, do not fit together."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest
from batched_model import BatchedModel, ask, occupy, rows, with_batcher

from serving.server.batching import RequestBatcher
from serving.server.batching_parameters import BatchingParameters
from serving.server.request_checks import RequestError

SHAPES = (
    "Tensors with name 'in_number:0' from different tasks have different shapes and padding is "
    "turned off. Set pad_variable_length_inputs to true, or ensure that all tensors with the "
    "same name have equal dimensions starting with the first dim."
)
NO_BATCH = "Batched output tensor has 0 dimensions"
OTHER_ROWS = (
    "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of "
    "the input tensors"
)


def together(model: BatchedModel, *arrays: Any, pad: bool = False) -> list[Any]:
    """Sends requests that fall into one batch; what each of them gets, or its error."""

    async def act(batcher: RequestBatcher) -> list[Any]:
        first = await occupy(batcher, model)
        asked = [ask(batcher, model, {"number": a}, outputs=["square"]) for a in arrays]
        await asyncio.sleep(0)
        model.gate.set()
        await first
        return await asyncio.gather(*asked, return_exceptions=True)

    parameters = BatchingParameters(
        max_batch_size=8, num_batch_threads=1, pad_variable_length_inputs=pad
    )
    return with_batcher(parameters, act)


def test_unequal_shapes_fail_the_whole_batch() -> None:
    got = together(BatchedModel(held=True), np.ones((1, 2), int), np.ones((1, 3), int))
    assert [(e.code.name, e.message) for e in got] == [("FAILED_PRECONDITION", SHAPES)] * 2


def test_unequal_ranks_fail_even_with_padding() -> None:
    got = together(BatchedModel(held=True), np.ones((1, 2), int), np.ones(1, int), pad=True)
    assert [(e.code.name, e.message) for e in got] == [("FAILED_PRECONDITION", SHAPES)] * 2


def test_shapes_are_padded_with_an_arrays_own_first_element() -> None:
    model = BatchedModel(held=True)
    short, tall = np.array([[5, 6], [7, 8]]), np.array([[1, 2, 3]])
    got = together(model, short, tall, pad=True)
    assert model.batches == [{"number": [[5, 6, 5], [7, 8, 5], [1, 2, 3]]}]
    assert got[0]["square"].tolist() == [[25, 36, 25], [49, 64, 25]]
    assert got[1]["square"].tolist() == [[1, 4, 9]]


def test_deep_shapes_are_padded_in_each_dimension() -> None:
    model = BatchedModel(held=True)
    together(model, np.array([[[1, 2]]]), np.array([[[3], [4]]]), pad=True)
    assert model.batches == [{"number": [[[1, 2], [1, 1]], [[3, 3], [4, 3]]]}]


def test_nothing_can_pad_what_is_empty() -> None:
    got = together(BatchedModel(held=True), np.ones((1, 0), int), np.ones((1, 2), int), pad=True)
    message = "Got empty tensor in batch of non-empty tensors."
    assert [(e.code.name, e.message) for e in got] == [("INVALID_ARGUMENT", message)] * 2


def test_no_rows_are_padded_to_any_shape() -> None:
    model = BatchedModel(held=True)
    got = together(model, np.ones((0, 1), int), np.array([[2, 3]]), pad=True)
    assert got[0]["square"].shape == (0, 2) and got[1]["square"].tolist() == [[4, 9]]


@pytest.mark.parametrize(
    ("output", "message"),
    [(np.array(3), NO_BATCH), (np.arange(3), OTHER_ROWS)],
    ids=["scalar", "rows"],
)
def test_outputs_that_are_no_batch(output: np.ndarray, message: str) -> None:
    model = BatchedModel()
    model.compute = lambda *_: output

    async def act(batcher: RequestBatcher) -> None:
        with pytest.raises(RequestError) as caught:
            await ask(batcher, model, rows(0, 2))
        assert (caught.value.code.name, caught.value.message) == ("FAILED_PRECONDITION", message)

    with_batcher(BatchingParameters(), act)


@pytest.mark.parametrize(
    "error", [RequestError(grpc.StatusCode.INTERNAL, "no"), ValueError("what?")], ids=repr
)
def test_an_error_reaches_every_request_of_the_batch(error: Exception) -> None:
    model = BatchedModel(held=True)

    def fail(_: str, arrays: Any) -> np.ndarray:
        if arrays["number"].tolist() == [-1]:
            return arrays["number"]
        raise error

    model.compute = fail
    assert together(model, np.arange(2), np.arange(3)) == [error, error]
