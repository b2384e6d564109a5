"""A server that is killed, flooded, left waiting or lied to: the right code, and it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from raw_http2 import END_STREAM, HEADERS, RawClient, grpc_message
from server_process import ServerProcess
from small_models import (
    PATIENCE,
    Caller,
    Gate,
    add_version,
    config_text,
    failure,
    wait_for,
)
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
from test_hot_swap import truncated_variables

Launch = Callable[..., Caller]
PREDICT = "/tensorflow.serving.PredictionService/Predict"
MIB = 1 << 20
FULL = ("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!")


@pytest.fixture(scope="module")
def filler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of long answers: ``n`` ones; its factor is a variable."""
    folder = tmp_path_factory.mktemp("filler") / "model"
    module = tf.Module()
    module.factor = tf.Variable(tf.ones([1 << 16]))
    fill = tf.function(
        lambda n: {"y": tf.fill(n, module.factor[0])},
        input_signature=[tf.TensorSpec([1], tf.int32, "n")],
    )
    tf.saved_model.save(module, str(folder), signatures={"serving_default": fill})
    return folder


def fill_request(count: int) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["n"].CopyFrom(tf.make_tensor_proto(np.int32([count])))
    return request


def start(folder: Path, template: Path, **flags: Any) -> ServerProcess:
    """A server of ``m``, whose version 1 is the template; not yet ready."""
    add_version(folder / "m", 1, template)
    config = folder / "models.config"
    config.write_text(config_text(("m", folder / "m")))
    settings = {"file_system_poll_wait_seconds": 0.1, "max_num_load_retries": 0, **flags}
    return ServerProcess(folder / "log", model_config_file=config, **settings)


@pytest.fixture(scope="module")
def flooded(
    tmp_path_factory: pytest.TempPathFactory, filler: Path
) -> Iterator[tuple[ServerProcess, Caller]]:
    """A server of long answers that takes four calls at once."""
    folder = tmp_path_factory.mktemp("flooded")
    with (
        start(folder, filler, max_concurrent_requests=4) as server,
        grpc.insecure_channel(server.address, [("grpc.max_receive_message_length", -1)]) as channel,
    ):
        caller = Caller(channel, None)
        # What it takes for long messages at all is not counted.
        for _ in range(4):
            caller.prediction.Predict(fill_request(MIB), timeout=PATIENCE)
        yield server, caller


def refusal(caller: Caller) -> tuple[str, str] | None:
    """How a small question is refused; None where it is answered."""
    try:
        caller.prediction.Predict(fill_request(1), timeout=PATIENCE)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return None


def test_a_message_of_two_gib(flooded: tuple[ServerProcess, Caller]) -> None:
    """It is refused by its length, before the server holds what was sent."""
    server, caller = flooded
    before, sent, claimed = server.memory(), 0, (1 << 31) - 1
    with RawClient(server.address, 1 << 16, PATIENCE) as client:
        stream = client.begin(PREDICT)
        client.send(stream, grpc_message(b"", claimed))
        for frame in client.frames():
            if frame.kind == HEADERS and frame.flags & END_STREAM:
                break
            while sent < claimed and (room := min(client.room(stream), claimed - sent)) > 0:
                client.send(stream, bytes(room))
                sent += room
        else:
            pytest.fail("the connection was closed without an answer")
    # The number of RESOURCE_EXHAUSTED, a literal.
    assert b"\x0bgrpc-status\x018" in frame.payload
    assert b"Received message larger than max" in frame.payload
    assert sent < 64 * MIB
    assert server.memory() - before < 64 * MIB
    assert refusal(caller) is None


def test_a_message_that_never_ends(flooded: tuple[ServerProcess, Caller]) -> None:
    """Its client goes when half is sent; its place and its bytes are free again."""
    server, caller = flooded
    before = server.memory()
    for _ in range(8):
        with RawClient(server.address, 1 << 16, PATIENCE) as client:
            stream, sent = client.begin(PREDICT), 0
            client.send(stream, grpc_message(b"", 60 * MIB))
            for _ in client.frames():
                while sent < 30 * MIB and client.room(stream) > 0:
                    sent += (room := client.room(stream))
                    client.send(stream, bytes(room))
                if sent >= 30 * MIB:
                    break
            else:
                pytest.fail(f"the connection was closed after {sent} bytes")
    assert [refusal(caller) for _ in range(8)] == [None] * 8
    # Eight times 30 MiB were sent.
    wait_for(lambda: server.memory() - before < 96 * MIB, "the memory to be given back")


def test_slow_readers(flooded: tuple[ServerProcess, Caller]) -> None:
    """They hold as many answers as calls may be; their places are free when they go."""
    server, caller = flooded
    before = server.memory()
    with RawClient(server.address, 0, PATIENCE) as client:
        for _ in range(4):
            stream = client.begin(PREDICT)
            client.send(stream, grpc_message(fill_request(MIB).SerializeToString()), last=True)
        wait_for(lambda: refusal(caller) == FULL, "the four to fill the server")
        # Answers of 4 MiB, as arrays, messages and bytes.
        assert server.memory() - before < 128 * MIB
        for _ in range(4):
            assert refusal(caller) == FULL
    wait_for(lambda: refusal(caller) is None, "their places")
    wait_for(lambda: server.memory() - before < 64 * MIB, "the memory to be given back")


def test_a_version_is_not_held_by_slow_readers(
    launch: Launch, tmp_path: Path, filler: Path
) -> None:
    """The answer is theirs, the version is not: it is unloaded when the run has ended."""
    base = tmp_path / "filler"
    add_version(base, 1, filler)
    caller = launch(config_text(("m", base)))
    with RawClient(caller.server.address, 0, PATIENCE) as client:
        stream = client.begin(PREDICT)
        client.send(stream, grpc_message(fill_request(MIB).SerializeToString()), last=True)
        assert refusal(caller) is None
        add_version(base, 2, filler)
        caller.wait_for_states({2: "AVAILABLE", 1: "END"})


def test_kill_9_during_a_load(tmp_path: Path, doubler: Path) -> None:
    """What is on disk is all there is: a server that is started again serves it."""
    template = tmp_path / "slow"
    add_version(template.parent, 0, doubler).rename(template)
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(Caller.request(None, file=tmp_path / "gate"))  # type: ignore[arg-type]
    (template / "assets.extra").mkdir()
    file = template / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(log.SerializeToString())
    with (
        start(tmp_path, doubler) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        caller = Caller(channel, None)
        assert caller.answering() == 1
        add_version(tmp_path / "m", 2, template)
        caller.wait_for_states({2: "LOADING", 1: "AVAILABLE"})
        assert caller.answering() == 1
        server.kill()
        assert failure(caller.answering)[0] == "UNAVAILABLE"
    (tmp_path / "gate").touch()
    again = ServerProcess(tmp_path / "log", model_config_file=tmp_path / "models.config")
    with again, grpc.insecure_channel(again.address) as channel:
        assert Caller(channel, None).answering() == 2
        assert again.stop() == 0


def test_a_start_with_nothing_but_a_broken_version(tmp_path: Path, filler: Path) -> None:
    """It ends, and says why, and does not hang."""
    add_version(tmp_path, 0, filler)
    truncated_variables(tmp_path / "0")
    server = start(tmp_path, tmp_path / "0")
    with pytest.raises(AssertionError, match="did not become available"):
        server.wait_until_ready()
    assert server.wait() == 2


class TestFullQueues:
    """What there is no room for is refused at once, and what was let in is answered."""

    def test_calls(self, launch: Launch, gate: Gate) -> None:
        caller = launch(grpc_max_threads=1, max_concurrent_requests=3)
        running = gate.hold(caller)
        waiting = [
            caller.prediction.Predict.future(caller.request(x=x), timeout=PATIENCE)
            for x in (2.0, 4.0)
        ]
        wait_for(lambda: try_status(caller) == FULL, "the others to wait")
        gate.open()
        answers = [future.result() for future in (running, *waiting)]
        assert [list(a.outputs["y"].float_val) for a in answers] == [[2], [4], [8]]
        wait_for(lambda: try_status(caller) is None, "room")

    def test_batches(self, launch: Launch, gate: Gate, tmp_path: Path) -> None:
        """``tensorflow/core/kernels/batching_util/shared_batch_scheduler.h``."""
        file = tmp_path / "batching.txt"
        file.write_text(
            "max_batch_size { value: 1 } max_enqueued_batches { value: 2 } "
            "num_batch_threads { value: 1 }"
        )
        caller = launch(enable_batching=True, batching_parameters_file=str(file))
        running = gate.hold(caller)
        waiting = []
        # In order, since each is looked at before the next is sent.
        for x in (2.0, 4.0):
            waiting.append(caller.prediction.Predict.future(caller.request(x=x), timeout=PATIENCE))
            assert caller.states() == {1: "AVAILABLE"}
        code, message = failure(lambda: caller.prediction.Predict(caller.request(x=5.0)))
        assert code == "UNAVAILABLE"
        assert message.startswith(
            "The batch scheduling queue to which this task was submitted is full; "
        )
        gate.open()
        answers = [future.result() for future in (running, *waiting)]
        assert [list(a.outputs["y"].float_val) for a in answers] == [[2], [4], [8]]
        assert caller.answering() == 1
        assert 5.0 not in gate.seen


def try_status(caller: Caller) -> tuple[str, str] | None:
    try:
        caller.states()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return None


@pytest.mark.parametrize("batched", [False, True])
def test_clients_that_vanish(launch: Launch, gate: Gate, tmp_path: Path, batched: bool) -> None:
    """What they were waiting for is never run, and their places are free."""
    flags: dict[str, Any] = {}
    if batched:
        file = tmp_path / "batching.txt"
        file.write_text("max_batch_size { value: 1 } num_batch_threads { value: 1 }")
        flags = {"enable_batching": True, "batching_parameters_file": str(file)}
    caller = launch(grpc_max_threads=1, max_concurrent_requests=4, **flags)
    running = gate.hold(caller)
    with grpc.insecure_channel(caller.server.address) as channel:
        stub = Caller(channel, None).prediction
        waiting = [stub.Predict.future(caller.request(x=7.0), timeout=PATIENCE) for _ in range(3)]
        wait_for(lambda: try_status(caller) == FULL, "all places to be taken")
        assert not any(future.done() for future in waiting)
    wait_for(lambda: try_status(caller) is None, "their places")
    gate.open()
    assert list(running.result().outputs["y"].float_val) == [2]
    assert caller.answering() == 1
    assert gate.seen == [1.0, 3.0]
