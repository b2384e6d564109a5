"""Requests whose tensors take long to be read: they are, beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from small_models import PATIENCE, Caller
from tensorflow_serving.apis import predict_pb2

from serving.server import inference
from serving.tensor_protos import array_of, typed_proto


class Witness:
    """A model, and the manager that has it: notes in which thread inputs are read."""

    def __init__(self) -> None:
        self.thread = ""

    @contextmanager
    def acquire(self, spec: Any) -> Iterator[tuple[int, Any]]:
        yield 1, self

    def read(self, key: str, inputs: Any, output_filter: Any) -> tuple[dict[str, Any], list[str]]:
        self.thread = threading.current_thread().name
        return {"x": array_of(inputs["x"])}, ["x"]

    def run(self, key: str, arrays: dict[str, Any], outputs: Any) -> dict[str, npt.NDArray[Any]]:
        return arrays


def request_of(array: npt.NDArray[Any]) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].CopyFrom(typed_proto(array))
    return request


@pytest.mark.parametrize(("size", "is_beside"), [(10, False), (70_000, True)])
def test_only_what_is_long_leaves_the_loop(size: int, is_beside: bool) -> None:
    witness, given = Witness(), np.arange(size, dtype=np.float32)
    with ThreadPoolExecutor(1) as executor:
        core = inference.ServerCore(witness, executor)  # type: ignore[arg-type]
        response = asyncio.run(inference.predict(core, request_of(given)))
    assert (witness.thread != threading.current_thread().name) is is_beside
    np.testing.assert_array_equal(np.float32(response.outputs["x"].float_val), given)


def test_over_grpc(launch: Callable[..., Caller]) -> None:
    given = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    response = launch().prediction.Predict(request_of(given), timeout=PATIENCE)
    np.testing.assert_array_equal(array_of(response.outputs["y"]), 2 * given)
