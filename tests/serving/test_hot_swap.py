"""New versions under load, half of them broken: nobody notices but by the number."""

from __future__ import annotations

import itertools
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from server_process import ServerProcess
from small_models import PATIENCE, Caller, config_text, wait_for
from tensorflow_serving.apis import prediction_log_pb2

FACTORS = (2.0, 3.0, 5.0)
"""Version n multiplies by the n-th of them, again and again: an answer tells what gave it."""


def factor_of(version: int) -> float:
    return FACTORS[version % len(FACTORS)]


def save_multiplier(folder: Path, factor: float) -> Path:
    """A model with variables, large enough to be torn."""
    module = tf.Module()
    module.factor = tf.Variable(tf.fill([1 << 16], factor))

    def multiply(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x * module.factor[0]}

    signature = tf.function(multiply, input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})
    return folder


@pytest.fixture(scope="module")
def multipliers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("multipliers")
    return [save_multiplier(folder / str(factor), factor) for factor in FACTORS]


def half_copied(version: Path) -> None:
    shutil.rmtree(version / "variables")
    (version / "saved_model.pb").write_bytes((version / "saved_model.pb").read_bytes()[:500])


def truncated_variables(version: Path) -> None:
    (file,) = (version / "variables").glob("variables.data-*")
    file.write_bytes(file.read_bytes()[:1000])


def no_variables(version: Path) -> None:
    shutil.rmtree(version / "variables")


def bad_graph(version: Path) -> None:
    """It parses, and its op is one that no server has."""
    file = version / "saved_model.pb"
    old, new = b"PartitionedCall", b"PartitionedCoal"
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new))


def failing_warm_up(version: Path) -> None:
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(Caller.request(None))  # type: ignore[arg-type]
    log.predict_log.request.model_spec.signature_name = "s"
    (version / "assets.extra").mkdir()
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(log.SerializeToString())


BREAKERS: tuple[Callable[[Path], None], ...] = (
    half_copied,
    truncated_variables,
    no_variables,
    bad_graph,
    failing_warm_up,
)


@dataclass
class Client:
    """Asks again and again, one request after the other.

    Args:
        stub: PredictionService.
        stopped: Ends it.
    """

    stub: Any
    stopped: threading.Event
    answers: list[tuple[int, float]] = field(default_factory=list)
    error: Exception | None = None

    def run(self) -> None:
        request = Caller.request(None, x=1.0)  # type: ignore[arg-type]
        try:
            while not self.stopped.is_set():
                response = self.stub.Predict(request, timeout=PATIENCE)
                (value,) = response.outputs["y"].float_val
                self.answers.append((response.model_spec.version.value, value))
        except grpc.RpcError as error:
            self.error = error

    def has_seen(self, version: int) -> bool:
        """Whether that version was the last to answer."""
        return bool(self.answers) and self.answers[-1][0] == version

    def check(self, good: set[int]) -> None:
        """No request failed, no broken version answered, and versions never went back."""
        assert self.error is None
        versions = [version for version, _ in self.answers]
        assert versions == sorted(versions)
        assert set(versions) <= good
        assert all(value == factor_of(version) for version, value in self.answers)


@dataclass
class Publisher:
    """Adds versions, of which every second is broken, each time in another way.

    Args:
        base: The model's folder.
        templates: What a version is a copy of.
    """

    base: Path
    templates: list[Path]
    good: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, spoil: Callable[[Path], None] | None = None) -> int:
        number = next(self.numbers)
        fresh = self.base / f".{number}.tmp"
        shutil.copytree(self.templates[number % len(FACTORS)], fresh)
        if spoil is not None:
            spoil(fresh)
        (self.broken if spoil else self.good).add(number)
        fresh.rename(self.base / str(number))
        return number


def swap(
    folder: Path, templates: list[Path], *, clients: int, seconds: float, pause: float
) -> tuple[list[Client], Publisher]:
    """Swaps versions under load, then looks at what every client was answered."""
    publisher = Publisher(folder / "m", templates)
    publisher.base.mkdir()
    publisher.add()
    config = folder / "models.config"
    config.write_text(config_text(("m", publisher.base)))
    flags = {
        "model_config_file": config,
        "file_system_poll_wait_seconds": 0.1,
        "max_num_load_retries": 1,
        "load_retry_interval_micros": 1_000,
    }
    with ServerProcess(folder / "log", **flags) as server:
        channels = [grpc.insecure_channel(server.address) for _ in range(clients)]
        stopped = threading.Event()
        asking = [Client(Caller(channel, None).prediction, stopped) for channel in channels]
        threads = [threading.Thread(target=client.run) for client in asking]
        for thread in threads:
            thread.start()
        try:
            newest = publish(publisher, Caller(channels[0], None), seconds, pause)
            for client in asking:
                wait_for(lambda c=client: c.error or c.has_seen(newest), "all to see the newest")
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
            for channel in channels:
                channel.close()
        assert server.is_running
    for client in asking:
        client.check(publisher.good)
    return asking, publisher


def wait_for_state(caller: Caller, number: int, state: str) -> None:
    wait_for(lambda: caller.states().get(number) == state, f"version {number} to be {state}")


def publish(publisher: Publisher, caller: Caller, seconds: float, pause: float) -> int:
    """Adds versions at that pace, then one broken in each way, waiting until it has failed.

    Returns:
        The newest version, which is available.
    """
    ticker, end = threading.Event(), time.monotonic() + seconds
    breakers = itertools.cycle(BREAKERS)
    while time.monotonic() < end:
        ticker.wait(pause)
        publisher.add(next(breakers))
        ticker.wait(pause)
        best = publisher.add()
    wait_for_state(caller, best, "AVAILABLE")
    for breaker in BREAKERS:
        number = publisher.add(breaker)
        wait_for_state(caller, number, "END")
        assert caller.error(number)[0] != 0
        assert caller.states()[best] == "AVAILABLE"
    best = publisher.add()
    wait_for_state(caller, best, "AVAILABLE")
    # One that was passed over may have been seen, but not tried.
    states = caller.states()
    assert {states[number] for number in publisher.broken & states.keys()} <= {"END", "START"}
    return best


def test_versions_change_under_load(tmp_path: Path, multipliers: list[Path]) -> None:
    """A version comes when the one before may still be loading: some are passed over."""
    asking, publisher = swap(tmp_path, multipliers, clients=8, seconds=6, pause=0.3)
    seen = {version for client in asking for version, _ in client.answers}
    assert len(seen) >= 3, f"of {len(publisher.good)} good versions {seen} answered"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_versions_change_under_load_for_two_minutes(
    tmp_path: Path, multipliers: list[Path]
) -> None:
    """32 clients, a version every 5 s."""
    asking, publisher = swap(tmp_path, multipliers, clients=32, seconds=120, pause=5)
    seen = {version for client in asking for version, _ in client.answers}
    answers = sum(len(client.answers) for client in asking)
    print(
        f"{answers} answers of {len(seen)} versions; {len(publisher.good)} good, "
        f"{len(publisher.broken)} broken",
        file=sys.stderr,
    )
    # Each stays for 10 s: all of them must have come.
    assert seen == publisher.good
