"""A model that NumPy computes, to be run in batches: it tells what it was given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving.server.batching import RequestBatcher
from serving.server.batching_parameters import BatchingParameters
from serving.server.metrics import Metrics

SIGNATURE = "serving_default"


class BatchedModel:
    """Squares ``number`` and turns ``text`` round, row by row.

    Args:
        held: Whether runs wait until ``gate`` is set.
    """

    def __init__(self, held: bool = False):
        names = {"number": "in_number:0", "text": "in_text:0"}
        inputs = {alias: SimpleNamespace(name=name) for alias, name in names.items()}
        self.signatures = {SIGNATURE: SimpleNamespace(inputs=inputs)}
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[dict[str, list[Any]]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        if not held:
            self.gate.set()

    def run(
        self, signature_key: str, arrays: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        assert signature_key == SIGNATURE
        with self._lock:
            self.batches.append({name: array.tolist() for name, array in arrays.items()})
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        self.entered.set()
        assert self.gate.wait(30)
        try:
            return {name: self.compute(name, arrays) for name in outputs}
        finally:
            with self._lock:
                self._at_once -= 1

    def compute(self, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        if name == "square":
            return arrays["number"] ** 2
        texts = [text[::-1] for text in arrays["text"]]
        return np.array(texts, object)

    @property
    def sizes(self) -> list[int]:
        return [len(batch["number"]) for batch in self.batches]


def rows(start: int, count: int) -> dict[str, np.ndarray]:
    """A request of rows that no other has: start, start + 1, …"""
    numbers = np.arange(start, start + count)
    return {"number": numbers, "text": np.array([b"t%d" % n for n in numbers], object)}


def answer(start: int, count: int) -> dict[str, list[Any]]:
    """What such a request must get."""
    return {
        "square": [n * n for n in range(start, start + count)],
        "round": [str(n).encode()[::-1] + b"t" for n in range(start, start + count)],
    }


def with_batcher(
    parameters: BatchingParameters, act: Callable[[RequestBatcher], Awaitable[Any]]
) -> Any:
    """Runs ``act`` with a batcher in a loop of its own, for half a minute at most."""

    async def whole() -> Any:
        batcher = RequestBatcher(parameters, Metrics())
        try:
            return await asyncio.wait_for(act(batcher), 30)
        finally:
            await batcher.close()

    return asyncio.run(whole())


def ask(
    batcher: RequestBatcher, model: Any, arrays: Mapping[str, np.ndarray], **more: Any
) -> asyncio.Task[dict[str, np.ndarray]]:
    """A request that has begun to wait once the loop turns."""
    outputs = more.pop("outputs", ["square", "round"])
    return asyncio.create_task(batcher.run(model, SIGNATURE, arrays, outputs, **more))


async def occupy(batcher: RequestBatcher, model: BatchedModel) -> asyncio.Task[Any]:
    """Lets a one-row request hold the only thread; number -1 tells it from the others."""
    first = ask(batcher, model, rows(-1, 1))
    while not model.entered.is_set():
        await asyncio.sleep(0.001)
    model.batches.clear()
    return first
