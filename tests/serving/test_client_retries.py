"""Which failures are tried again, how often, and within which time."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from fake_server import HEALTH, KINDS, PREDICT, RELOAD, STATUS, ask, fake_server
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

from serving.client import AsyncServingClient, Retries, ServingClient, ServingClientError
from serving.client.retries import PUSHBACK

FAST = Retries(attempts=4, first_delay=0.01, max_delay=0.02)
CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


class Failing:
    """Fails so often, then answers that version 3 is there."""

    def __init__(
        self,
        code: grpc.StatusCode,
        times: int = 1,
        trailers: tuple[tuple[str, str], ...] = (),
        details: str = "the batching queue is full",
    ):
        self.code, self.times, self.trailers, self.details = code, times, trailers, details
        self.seen: list[float] = []

    def __call__(self, request: bytes, context: Any) -> bytes:
        self.seen.append(context.time_remaining())
        if len(self.seen) <= self.times:
            context.set_trailing_metadata(self.trailers)
            context.abort(self.code, self.details)
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=3, state=30)
        return response.SerializeToString()


def outcome(kind: str, method: Failing, **options: Any) -> str:
    """The error's code, or OK."""
    with fake_server({STATUS: method}) as address:
        try:
            (version,) = ask(kind, address, "status", "m", **{"retries": FAST, **options})
        except ServingClientError as error:
            return error.code
        assert (version.version, version.state) == (3, "AVAILABLE")
        return "OK"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_unavailable_alone_is_tried_again(code: grpc.StatusCode, kind: str) -> None:
    method = Failing(code)
    if code is grpc.StatusCode.UNAVAILABLE:
        assert (outcome(kind, method), len(method.seen)) == ("OK", 2)
    else:
        assert (outcome(kind, method), len(method.seen)) == (code.name, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("code", "trailers", "sent"),
    [
        ("RESOURCE_EXHAUSTED", ((PUSHBACK, "10"),), 2),
        ("RESOURCE_EXHAUSTED", ((PUSHBACK, "0"), ("other", "1")), 2),
        ("RESOURCE_EXHAUSTED", ((PUSHBACK, "-1"),), 1),
        ("RESOURCE_EXHAUSTED", ((PUSHBACK, "soon"),), 1),
        ("RESOURCE_EXHAUSTED", (("other", "10"),), 1),
        ("UNAVAILABLE", ((PUSHBACK, "-1"),), 1),
        ("UNAVAILABLE", ((PUSHBACK, ""),), 1),
        ("INTERNAL", ((PUSHBACK, "10"),), 1),
    ],
)
def test_the_server_decides_by_a_trailer(
    code: str, trailers: tuple[tuple[str, str], ...], sent: int, kind: str
) -> None:
    method = Failing(grpc.StatusCode[code], trailers=trailers)
    assert outcome(kind, method) == ("OK" if sent == 2 else code)
    assert len(method.seen) == sent


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_s_wish_is_waited_for(kind: str) -> None:
    began = time.monotonic()
    method = Failing(grpc.StatusCode.UNAVAILABLE, trailers=((PUSHBACK, "400"),))
    assert outcome(kind, method) == "OK"
    assert time.monotonic() - began >= 0.4


def test_refused_at_the_door() -> None:
    """gRPC's own refusal by its limit of concurrent requests, before any handler runs."""
    running, go_on = threading.Event(), threading.Event()

    def slow(request: bytes, context: Any) -> bytes:
        running.set()
        assert go_on.wait(10)
        return b""

    with (
        fake_server({HEALTH: slow}, maximum_concurrent_rpcs=1) as address,
        ServingClient(address, retries=FAST) as first,
        ServingClient(address, retries=Retries(attempts=1)) as hasty,
        ServingClient(address, retries=Retries(attempts=50, first_delay=0.05)) as patient,
    ):
        holding = threading.Thread(target=first.health)
        holding.start()
        assert running.wait(10)
        with pytest.raises(ServingClientError) as caught:
            hasty.health()
        assert caught.value.code == "RESOURCE_EXHAUSTED"
        threading.Timer(0.2, go_on.set).start()
        assert patient.health() == "UNKNOWN"
        holding.join()


@pytest.mark.parametrize("kind", KINDS)
def test_the_attempts_end(kind: str) -> None:
    method = Failing(grpc.StatusCode.UNAVAILABLE, times=100)
    with fake_server({STATUS: method}) as address, pytest.raises(ServingClientError) as caught:
        ask(kind, address, "status", "m", retries=FAST)
    assert len(method.seen) == 4
    # The server's own words: it is there.
    assert caught.value.message == "the batching queue is full"
    assert "try again later" in caught.value.remedy


@pytest.mark.parametrize("kind", KINDS)
def test_one_deadline_over_all_attempts(kind: str) -> None:
    method, began = Failing(grpc.StatusCode.UNAVAILABLE, times=100), time.monotonic()
    patient = Retries(attempts=100, first_delay=0.3, max_delay=0.3)
    assert outcome(kind, method, retries=patient, timeout=1.0) == "UNAVAILABLE"
    assert time.monotonic() - began < 1.5
    assert 3 <= len(method.seen) <= 8
    assert all(
        later < earlier for earlier, later in zip(method.seen, method.seen[1:], strict=False)
    )
    assert method.seen[0] < 1.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_beyond_the_deadline_is_not_begun(kind: str) -> None:
    method = Failing(grpc.StatusCode.UNAVAILABLE, trailers=((PUSHBACK, "60000"),))
    began = time.monotonic()
    assert outcome(kind, method, timeout=5.0) == "UNAVAILABLE"
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_is_sent_once(kind: str) -> None:
    method = Failing(grpc.StatusCode.UNAVAILABLE)
    with fake_server({RELOAD: method}) as address, pytest.raises(ServingClientError):
        ask(kind, address, "reload_config", "model_config_list {}", retries=FAST)
    assert len(method.seen) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_comes_later(kind: str) -> None:
    """The connection is refused at first, and made again soon enough."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers: list[Any] = []
    patient = Retries(attempts=20, first_delay=0.1, max_delay=0.4)
    asking = threading.Thread(
        target=lambda: answers.append(
            ask(kind, f"127.0.0.1:{port}", "health", retries=patient, timeout=20)
        )
    )
    asking.start()
    time.sleep(0.7)
    with fake_server({HEALTH: lambda request, context: b"\x08\x01"}, port):
        asking.join()
    assert answers == ["SERVING"]


def test_a_server_that_starts_anew_keeps_its_client() -> None:
    methods = {HEALTH: lambda request, context: b"\x08\x01"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ServingClient(f"127.0.0.1:{port}", timeout=20) as client:
        for _ in range(3):
            with fake_server(methods, port):
                assert client.health() == "SERVING"


def test_one_connection_serves_all_requests() -> None:
    peers = set[str]()

    def note(request: bytes, context: Any) -> bytes:
        peers.add(context.peer())
        return b"\x08\x01"

    with fake_server({HEALTH: note}) as address, ServingClient(address) as client:
        threads = [threading.Thread(target=client.health) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(peers) == 1


def test_a_cancelled_coroutine_cancels_its_request() -> None:
    running, cancelled = threading.Event(), threading.Event()

    def hang(request: bytes, context: Any) -> bytes:
        context.add_callback(cancelled.set)
        running.set()
        cancelled.wait(10)
        return b""

    async def go(address: str) -> None:
        async with AsyncServingClient(address, timeout=60) as client:
            asking = asyncio.create_task(client.health())
            await asyncio.to_thread(running.wait, 10)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    with fake_server({HEALTH: hang}) as address:
        asyncio.run(go(address))
        assert cancelled.wait(10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [0, 1, 3, 4, 25])
def test_many_histories_in_parts(rows: int, kind: str) -> None:
    """Answers in order, no part longer than it may be, and no more at once than may be."""
    sizes: list[int] = []
    state = {"now": 0, "most": 0}
    lock = threading.Lock()

    def echo(raw: bytes, context: Any) -> bytes:
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        request = predict_pb2.PredictRequest.FromString(raw)
        ids = request.inputs["item_ids"]
        # Later parts come back first.
        time.sleep(0.05 / (1 + int(ids.string_val[1])))
        response = predict_pb2.PredictResponse()
        response.outputs["item_ids"].CopyFrom(ids)
        response.outputs["scores"].dtype = 1
        response.outputs["scores"].tensor_shape.CopyFrom(ids.tensor_shape)
        with lock:
            sizes.append(ids.tensor_shape.dim[0].size)
            state["now"] -= 1
        return response.SerializeToString()

    histories = [[str(row)] for row in range(rows)]
    with fake_server({PREDICT: echo}) as address:
        answers = ask(kind, address, "recommend", histories, batch_size=4, max_in_flight=2)
    assert [item for ((item, _),) in answers] == [str(row) for row in range(rows)]
    assert sorted(sizes, reverse=True) == [4] * (rows // 4) + [rows % 4] * (rows % 4 > 0)
    assert state["most"] <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_in_one_part_stops_the_rest(kind: str) -> None:
    seen: list[bytes] = []

    def refuse(raw: bytes, context: Any) -> bytes:
        seen.append(raw)
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        raise AssertionError

    with fake_server({PREDICT: refuse}) as address, pytest.raises(ServingClientError) as caught:
        ask(kind, address, "recommend", [["a"]] * 100, batch_size=1, max_in_flight=2)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert len(seen) < 50


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Retries(attempts=0), "an attempt or more"),
        (lambda: Retries(first_delay=-1), "no negative delays"),
    ],
)
def test_retries_that_cannot_be(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        make()


def test_waits_double_up_to_the_longest() -> None:
    retries = Retries(first_delay=0.1, max_delay=0.5)
    assert [retries.delay(n, lambda: 1.0) for n in (1, 2, 3, 4)] == [0.1, 0.2, 0.4, 0.5]
    assert [retries.delay(n, lambda: 0.0) for n in (1, 2, 3, 4)] == [0.05, 0.1, 0.2, 0.25]
    assert len({retries.delay(1) for _ in range(10)}) > 1
