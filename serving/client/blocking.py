"""The client for threads."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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


class ServingClient(ClientBase):
    """Asks a TF-Serving, or the server of this package, over gRPC; threads may share one.

    Its arguments are those of ``ClientBase``. Every method raises ``ServingClientError`` if
    its arguments cannot be sent, if there is no answer in time, or if the answer is an error.

    Example:
        >>> with ServingClient("localhost:8500") as client:  # doctest: +SKIP
        ...     client.recommend([["B0001", "B0002"]], k=3)
        [[('B0007', 1.93), ('B0004', 1.21), ('B0009', 0.98)]]
    """

    def recommend(
        self,
        item_ids: Sequence[questions.Texts],
        k: questions.K = 10,
        model: str | ModelSpec = RECOMMENDER,
        *,
        exclude: questions.Ids | None = None,
        allowed: questions.Ids | None = None,
    ) -> list[Recommendations]:
        """The best unseen items for each history.

        Args:
            item_ids: Histories, oldest item first; they need not be of one length.
            k: How many, for all or for each; a history for which fewer are left gets fewer.
                A server that batches requests needs a number for each.
            model: Such as ``recommender`` or ``recommender_scann``.
            exclude: Items that are not wanted, for all or for each.
            allowed: The only items that are, such as a shop's stock, for all or for each.

        Returns:
            For each history (item id, score), best first.
        """
        return self._ask(self._build(questions.recommend, item_ids, k, model, exclude, allowed))

    def match(self, titles: questions.Texts, model: str | ModelSpec = MATCHER) -> list[TitleMatch]:
        """The generated ID embedding of each title, and the source items that made it.

        Args:
            titles: Titles of target items.
            model: Such as ``matcher`` or ``matcher_scann``.
        """
        return self._ask(self._build(questions.match, titles, model))

    def score(
        self,
        item_ids: Sequence[questions.Texts],
        candidates: questions.Ids,
        model: str | ModelSpec = RECOMMENDER,
    ) -> list[list[float]]:
        """The recommender's scores of given items, for a ranker behind it.

        Args:
            item_ids: Histories, oldest item first.
            candidates: Item ids to score, for all histories or for each.
            model: Such as ``recommender``.

        Returns:
            For each history the scores in the order of its candidates; -inf for unknown ones.
        """
        return self._ask(self._build(questions.score, item_ids, candidates, model))

    def cold_start(
        self,
        titles: Sequence[questions.Texts],
        k: questions.K = 10,
        model: str | ModelSpec = COLD_START,
    ) -> list[Recommendations]:
        """Items for histories that are known by titles alone, even of items never seen.

        Args:
            titles: For each history its titles, oldest first.
            k: How many, for all or for each.
            model: Such as ``cold_start``.

        Returns:
            For each history (item id, score), best first.
        """
        return self._ask(self._build(questions.cold_start, titles, k, model))

    def classify(
        self,
        model: str | ModelSpec,
        examples: Sequence[calls.Example],
        signature: str = "",
        *,
        context: calls.Example | None = None,
    ) -> list[Recommendations]:
        """A signature that classifies, over ``tf.Example``.

        Args:
            model: Its name.
            examples: For each example, feature name -> its values.
            signature: The signature's key; "" means ``serving_default``.
            context: Features that all examples share.

        Returns:
            For each example its (label, score) pairs.
        """
        return self._send(self._build(calls.classify, model, examples, signature, context))

    def regress(
        self,
        model: str | ModelSpec,
        examples: Sequence[calls.Example],
        signature: str = "",
        *,
        context: calls.Example | None = None,
    ) -> list[float]:
        """A signature that regresses, over ``tf.Example``; arguments as in ``classify``.

        Returns:
            For each example its value.
        """
        return self._send(self._build(calls.regress, model, examples, signature, context))

    def predict(
        self,
        model: str | ModelSpec,
        inputs: Mapping[str, npt.ArrayLike],
        signature: str = "",
    ) -> Outputs:
        """Any signature of any model.

        Args:
            model: The model's name.
            inputs: Input name -> array; mind the dtype (``np.int32(10)``, not ``10``).
            signature: The signature's key; "" means ``serving_default``.

        Returns:
            Output name -> array; strings as ``bytes`` in an object array.
        """
        return self._send(self._build(calls.predict, model, inputs, signature, Outputs))

    def metadata(self, model: str | ModelSpec) -> dict[str, Any]:
        """The signatures of a model: key -> inputs and outputs with dtype and shape."""
        return self._send(self._build(calls.metadata, model))

    def status(self, model: str | ModelSpec) -> list[VersionStatus]:
        """The versions of a model that the server knows."""
        return self._send(self._build(calls.status, model))

    def reload_config(self, config: str) -> None:
        """Gives the server another list of models; it is sent once, whatever happens.

        Args:
            config: A ``models.config``'s text.
        """
        self._send(self._build(calls.reload_config, config))

    def health(self, service: str = "") -> str:
        """``SERVING`` or ``NOT_SERVING``, if the server has gRPC's health service.

        Args:
            service: A service's name; "" is the whole server.
        """
        return self._send(self._build(calls.health, service))

    def close(self) -> None:
        """Closes the connection; requests that run end with CANCELLED."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> ServingClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @cached_property
    def _channel(self) -> Any:
        return self._open(grpc)

    def _ask(self, question: questions.Question[T]) -> list[T]:
        parts = question.parts(self.batch_size)

        def answer(rows: slice) -> list[T]:
            return self._send(self._build(question.call, rows))

        if len(parts) <= 1:
            return [row for part in parts for row in answer(part)]
        pool = ThreadPoolExecutor(min(self.max_in_flight, len(parts)))
        try:
            return [row for answers in pool.map(answer, parts) for row in answers]
        finally:
            # After an error, what has not been sent is not sent any more.
            pool.shutdown(cancel_futures=True)

    def _send(self, call: calls.Call[T]) -> T:
        attempts, send = self._attempts(call), self._sender(self._channel, call)
        while True:
            try:
                response = send(timeout=attempts.remaining())
            except grpc.RpcError as error:
                time.sleep(self._delay(attempts, error))
            else:
                return self._read(call, response)
