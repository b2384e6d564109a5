"""Clients of the REST API that vanish, wait while the server drains, or keep a connection."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from rest_model import Answer, ask
from small_models import PATIENCE, Caller, Gate, wait_for

from serving.server import ModelServer

PATH = "/v1/models/m:predict"


def body_of(x: float) -> str:
    return json.dumps({"instances": [x]})


@pytest.fixture
def held(gate: Gate, launch: Callable[..., Caller]) -> Any:
    """A server with one thread for REST, and the answer to a request that the gate holds."""
    server: Any = launch(rest_api_port=-1, rest_api_num_threads=1, max_concurrent_requests=2).server
    answers: list[Answer] = []
    asking = threading.Thread(
        target=lambda: answers.append(ask(server.rest_url, PATH, body_of(Gate.HELD)))
    )
    asking.start()
    wait_for(lambda: Gate.HELD in gate.seen, "the request that is held")
    yield server, answers, asking
    gate.open()
    asking.join(PATIENCE)


def send(server: ModelServer, x: float) -> socket.socket:
    """A request whose answer is not waited for."""
    body = body_of(x)
    connection = socket.create_connection((server.options.host, server.rest_port), PATIENCE)
    head = f"POST {PATH} HTTP/1.1\r\nHost: m\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall((head + body).encode())
    return connection


def is_refused(server: ModelServer) -> bool:
    """Whether there is no room to wait; one that may wait gets no answer for now."""
    with send(server, 4.0) as connection:
        connection.settimeout(0.2)
        try:
            return b"429" in connection.recv(64)
        except TimeoutError:
            return False


def test_a_request_whose_client_has_gone_never_runs(gate: Gate, held: Any) -> None:
    server, answers, asking = held
    waiting = send(server, 2.0)
    wait_for(lambda: is_refused(server), "the request that waits")
    waiting.close()
    wait_for(lambda: not is_refused(server), "the server to see that its client has gone")
    gate.open()
    asking.join(PATIENCE)
    assert json.loads(answers[0].body) == {"predictions": [2 * Gate.HELD]}
    assert json.loads(ask(server.rest_url, PATH, body_of(3.0)).body) == {"predictions": [6.0]}
    assert 2.0 not in gate.seen


def test_draining_answers_what_runs_and_takes_nothing_new(gate: Gate, held: Any) -> None:
    server, answers, asking = held
    stopping = threading.Thread(target=server.stop)
    stopping.start()

    def is_closed() -> bool:
        try:
            socket.create_connection((server.options.host, server.rest_port), PATIENCE).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_for(is_closed, "the port to close")
    gate.open()
    asking.join(PATIENCE)
    stopping.join(PATIENCE)
    assert json.loads(answers[0].body) == {"predictions": [2 * Gate.HELD]}


def test_a_connection_is_kept(launch: Callable[..., Caller]) -> None:
    server: Any = launch(rest_api_port=-1).server
    connection = http.client.HTTPConnection(f"127.0.0.1:{server.rest_port}", timeout=PATIENCE)
    connection.connect()
    first = connection.sock
    for body in (body_of(1.0), "{", body_of(2.0)):
        connection.request("POST", PATH, body)
        connection.getresponse().read()
    assert connection.sock is first
    connection.close()
