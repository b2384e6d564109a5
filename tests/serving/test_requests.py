"""Requests that are late, cancelled, too many or too long, and a server that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from small_models import PATIENCE, Caller, Gate, config_text, failure, wait_for

from idp_tf.errors import ServingError
from serving.server import ModelServer
from serving.server.loaded_model import LoadedModel
from serving.server.private_protos import HealthCheckRequest, HealthCheckResponse
from serving.server.request_checks import RequestError
from serving.tensor_protos import typed_proto

Launch = Callable[..., Caller]


def test_what_waits_until_its_deadline_is_never_run(launch: Launch, gate: Gate) -> None:
    caller = launch(grpc_max_threads=1)
    running = gate.hold(caller)
    code, _ = failure(lambda: caller.prediction.Predict(caller.request(x=2.0), timeout=0.3))
    assert code == "DEADLINE_EXCEEDED"
    gate.open()
    assert list(running.result().outputs["y"].float_val) == [2.0]
    assert caller.answering() == 1
    assert gate.seen == [1.0, 3.0]


def test_a_session_that_runs_too_long_is_broken_off(
    doubler: Path, tmp_path: Path, launch: Launch
) -> None:
    """``run_options.set_timeout_in_ms`` in ``model_servers/prediction_service_impl.cc``."""
    caller = launch(grpc_max_threads=1)
    never = caller.request(file=tmp_path / "never")
    for _ in range(2):
        code, _ = failure(lambda: caller.prediction.Predict(never, timeout=0.3))
        assert code == "DEADLINE_EXCEEDED"
    # The one thread is free again.
    assert caller.answering() == 1
    arrays = {
        "x": np.ones(1, np.float32),
        "file": np.array(str(tmp_path / "never").encode(), object),
    }
    with pytest.raises(RequestError) as caught:
        LoadedModel(doubler, (1, 1)).run("wait", arrays, ["y"], timeout=0.1)
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED


def test_what_is_cancelled_while_it_waits_is_never_run(launch: Launch, gate: Gate) -> None:
    caller = launch(grpc_max_threads=1, max_concurrent_requests=2)
    running = gate.hold(caller)
    waiting = caller.prediction.Predict.future(caller.request(x=2.0), timeout=PATIENCE)
    full = ("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!")
    wait_for(lambda: try_status(caller) == full, "the second request to wait")
    waiting.cancel()
    wait_for(lambda: try_status(caller) is None, "its place to be free")
    gate.open()
    running.result()
    assert caller.answering() == 1
    assert gate.seen == [1.0, 3.0]


def try_status(caller: Caller) -> tuple[str, str] | None:
    try:
        caller.states()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return None


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("given_up", ["late", "vanished"])
def test_a_version_stays_while_a_thread_runs_it(
    launch: Launch,
    base: Path,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    given_up: str,
    batched: bool,
) -> None:
    """The request is over for its client; the session is closed when the run has ended, too."""
    closed: list[bool] = []
    close = LoadedModel.close

    def watched(model: LoadedModel) -> None:
        closed.append(gate.is_open)
        close(model)

    monkeypatch.setattr(LoadedModel, "close", watched)
    caller = launch(enable_batching=batched)
    with grpc.insecure_channel(caller.server.address) as channel:
        running = gate.hold(Caller(channel, None), 1.0 if given_up == "late" else PATIENCE)
        if given_up == "late":
            assert failure(running.result)[0] == "DEADLINE_EXCEEDED"
    (base / "1").rename(base / "2")
    caller.wait_for_states({2: "AVAILABLE", 1: "UNLOADING"})
    assert [caller.answering() for _ in range(20)] == [2] * 20
    assert caller.states() == {2: "AVAILABLE", 1: "UNLOADING"}
    gate.open()
    caller.wait_for_states({2: "AVAILABLE", 1: "END"})
    assert closed == [True]


def test_a_message_that_is_too_long(launch: Launch) -> None:
    caller = launch(grpc_channel_arguments="grpc.max_receive_message_length=4000")
    request = caller.request()
    request.inputs["x"].CopyFrom(typed_proto(np.zeros(2_000, np.float32)))
    code, message = failure(lambda: caller.prediction.Predict(request))
    assert code == "RESOURCE_EXHAUSTED"
    assert "8" in message and "4000" in message
    assert caller.answering() == 1


def test_bytes_that_are_no_request(launch: Launch) -> None:
    caller = launch()
    with grpc.insecure_channel(caller.server.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        code, message = failure(lambda: call(b"\xff\xff\xff", timeout=PATIENCE))
    assert code == "INTERNAL"
    assert message.startswith("not a PredictRequest: ")


def test_an_error_of_ours_is_internal(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = launch()
    monkeypatch.setattr(LoadedModel, "run", lambda *_: 1 / 0)
    code, message = failure(caller.answering)
    assert (code, message) == ("INTERNAL", "ZeroDivisionError: division by zero")


def test_a_server_that_stops_lets_requests_end(launch: Launch, gate: Gate) -> None:
    caller = launch(shutdown_grace_seconds=PATIENCE)
    running = gate.hold(caller)
    stopping = threading.Thread(target=caller.server.stop)
    stopping.start()
    wait_for(lambda: (try_status(caller) or ("",))[0] == "UNAVAILABLE", "new calls to be refused")
    assert not running.done()
    gate.open()
    assert list(running.result().outputs["y"].float_val) == [2.0]
    stopping.join(PATIENCE)
    assert not stopping.is_alive()


def test_grace_has_an_end(launch: Launch, gate: Gate) -> None:
    caller = launch(shutdown_grace_seconds=0.1)
    running = gate.hold(caller)
    caller.server.stop()
    assert running.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


def test_a_server_that_is_stopped_before_it_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits for a first version, as TF-Serving does, but not for ever."""
    base = tmp_path / "empty"
    base.mkdir()
    server = ModelServer(port=0, model_base_path=str(base))
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(server.start)
        wait_for(lambda: "no versions are there to serve" in caplog.text, "a look")
        assert not starting.done()
        server.stop()
        with pytest.raises(ServingError, match="stopped before its models were loaded"):
            starting.result(PATIENCE)


def test_sigterm_drains(base: Path, tmp_path: Path) -> None:
    """The command itself: a request in flight is answered, and the exit code is 0."""
    config, gate = tmp_path / "models.config", tmp_path / "gate"
    config.write_text(config_text(("m", base)))
    command = [sys.executable, "-m", "idp_tf.cli", "serve", f"--model_config_file={config}"]
    process = subprocess.Popen(
        [*command, "--port=0", "--rest_api_port=-1", f"--shutdown_grace_seconds={PATIENCE}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        # Of one thread the request that waits would leave none.
        env={**os.environ, "TF_NUM_INTEROP_THREADS": "2"},
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        with grpc.insecure_channel(address) as channel:
            stub = Caller(channel, None).prediction
            request = Caller(channel, None).request(file=gate)
            running = stub.Predict.future(request, timeout=PATIENCE)
            # One that comes later is answered; so the first one has arrived.
            stub.Predict(Caller(channel, None).request(), timeout=PATIENCE)
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            wait_for(lambda: "draining" in process.stderr.readline(), "the signal")
            gate.touch()
            assert list(running.result().outputs["y"].float_val) == [6.0]
        _, log = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Traceback" not in log


def test_a_socket_alone(base: Path, launch: Launch, tmp_path: Path) -> None:
    socket = tmp_path / "grpc.sock"
    server = launch(grpc_socket_path=str(socket)).server
    assert server.port == 0
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        assert Caller(channel, server).answering() == 1


class TestHealth:
    """``model_servers/server.cc`` and gRPC's health checking protocol."""

    @pytest.fixture
    def channel(self, launch: Launch) -> Iterator[tuple[Caller, grpc.Channel]]:
        caller = launch(enable_grpc_healthcheck_service=True)
        with grpc.insecure_channel(caller.server.address) as channel:
            yield caller, channel

    def check(self, channel: grpc.Channel, name: str) -> int:
        call = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        return call(HealthCheckRequest(service=name), timeout=PATIENCE).status

    def test_check(self, channel: tuple[Caller, grpc.Channel]) -> None:
        for name in ("", "ModelService", "PredictionService"):
            assert self.check(channel[1], name) == 1
        assert failure(lambda: self.check(channel[1], "tensorflow.serving.ModelService")) == (
            "NOT_FOUND",
            "service name unknown",
        )

    def test_watch(self, channel: tuple[Caller, grpc.Channel]) -> None:
        caller, plain = channel
        call = plain.unary_stream("/grpc.health.v1.Health/Watch")
        # As bytes: field 1 is the service; the status is field 1, an enum.
        known = call(b"\x0a\x0cModelService", timeout=PATIENCE)
        unknown = call(b"\x0a\x01x", timeout=PATIENCE)
        assert (next(known), next(unknown)) == (b"\x08\x01", b"\x08\x03")
        caller.server.stop()
        assert list(known) == [b"\x08\x02"]
        assert list(unknown) == []

    def test_not_unless_told(self, launch: Launch) -> None:
        with grpc.insecure_channel(launch().server.address) as channel:
            assert failure(lambda: self.check(channel, ""))[0] == "UNIMPLEMENTED"
