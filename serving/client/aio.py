"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, TypeVar

import grpc
import numpy.typing as npt

from serving.client import calls, questions
from serving.client.answers import Outputs, Recommendations, TitleMatch, VersionStatus
from serving.client.base import ClientBase
from serving.client.models import COLD_START, MATCHER, RECOMMENDER, ModelSpec

T = TypeVar("T")


class AsyncServingClient(ClientBase):
    """As ``ServingClient``, method for method, for the coroutines of one event loop.

    A cancelled coroutine cancels its requests, on the server too.

    Example:
        >>> async def ask() -> list:
        ...     async with AsyncServingClient("localhost:8500") as client:
        ...         return await client.recommend([["B0001", "B0002"]], k=3)
        >>> asyncio.run(ask())  # doctest: +SKIP
        [[('B0007', 1.93), ('B0004', 1.21), ('B0009', 0.98)]]
    """

    async def recommend(
        self,
        item_ids: Sequence[questions.Texts],
        k: questions.K = 10,
        model: str | ModelSpec = RECOMMENDER,
        *,
        exclude: questions.Ids | None = None,
        allowed: questions.Ids | None = None,
    ) -> list[Recommendations]:
        """As ``ServingClient.recommend``."""
        question = self._build(questions.recommend, item_ids, k, model, exclude, allowed)
        return await self._ask(question)

    async def match(
        self, titles: questions.Texts, model: str | ModelSpec = MATCHER
    ) -> list[TitleMatch]:
        """As ``ServingClient.match``."""
        return await self._ask(self._build(questions.match, titles, model))

    async def score(
        self,
        item_ids: Sequence[questions.Texts],
        candidates: questions.Ids,
        model: str | ModelSpec = RECOMMENDER,
    ) -> list[list[float]]:
        """As ``ServingClient.score``."""
        return await self._ask(self._build(questions.score, item_ids, candidates, model))

    async def cold_start(
        self,
        titles: Sequence[questions.Texts],
        k: questions.K = 10,
        model: str | ModelSpec = COLD_START,
    ) -> list[Recommendations]:
        """As ``ServingClient.cold_start``."""
        return await self._ask(self._build(questions.cold_start, titles, k, model))

    async def classify(
        self,
        model: str | ModelSpec,
        examples: Sequence[calls.Example],
        signature: str = "",
        *,
        context: calls.Example | None = None,
    ) -> list[Recommendations]:
        """As ``ServingClient.classify``."""
        return await self._send(self._build(calls.classify, model, examples, signature, context))

    async def regress(
        self,
        model: str | ModelSpec,
        examples: Sequence[calls.Example],
        signature: str = "",
        *,
        context: calls.Example | None = None,
    ) -> list[float]:
        """As ``ServingClient.regress``."""
        return await self._send(self._build(calls.regress, model, examples, signature, context))

    async def predict(
        self,
        model: str | ModelSpec,
        inputs: Mapping[str, npt.ArrayLike],
        signature: str = "",
    ) -> Outputs:
        """As ``ServingClient.predict``."""
        return await self._send(self._build(calls.predict, model, inputs, signature, Outputs))

    async def metadata(self, model: str | ModelSpec) -> dict[str, Any]:
        """As ``ServingClient.metadata``."""
        return await self._send(self._build(calls.metadata, model))

    async def status(self, model: str | ModelSpec) -> list[VersionStatus]:
        """As ``ServingClient.status``."""
        return await self._send(self._build(calls.status, model))

    async def reload_config(self, config: str) -> None:
        """As ``ServingClient.reload_config``."""
        await self._send(self._build(calls.reload_config, config))

    async def health(self, service: str = "") -> str:
        """As ``ServingClient.health``."""
        return await self._send(self._build(calls.health, service))

    async def close(self) -> None:
        """Closes the connection; requests that run are cancelled."""
        self._closed = True
        await self._channel.close()

    async def __aenter__(self) -> AsyncServingClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @cached_property
    def _channel(self) -> Any:
        # Made at the first request, since it belongs to the event loop that runs by then.
        return self._open(grpc.aio)

    async def _ask(self, question: questions.Question[T]) -> list[T]:
        parts = question.parts(self.batch_size)
        answers: list[list[T]] = [[] for _ in parts]
        waiting = iter(enumerate(parts))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.max_in_flight, len(parts))):
                    group.create_task(self._work(question, waiting, answers))
        except ExceptionGroup as errors:
            # The first has cancelled the rest.
            first = errors.exceptions[0]
            raise first from first.__cause__
        return [row for answer in answers for row in answer]

    async def _work(
        self,
        question: questions.Question[T],
        waiting: Iterator[tuple[int, slice]],
        answers: list[list[T]],
    ) -> None:
        for place, rows in waiting:
            answers[place] = await self._send(self._build(question.call, rows))

    async def _send(self, call: calls.Call[T]) -> T:
        attempts, send = self._attempts(call), self._sender(self._channel, call)
        while True:
            try:
                response = await send(timeout=attempts.remaining())
            except grpc.RpcError as error:
                await asyncio.sleep(self._delay(attempts, error))
            else:
                return self._read(call, response)
