"""Requests of every method with bytes changed at random: the right codes, no crash, no leak.

The changes are drawn from a seed, so that each run sends the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from example_model import CLASSIFY, REGRESS, save_example_model
from google.protobuf.message import DecodeError
from server_process import ServerProcess
from small_models import PATIENCE, add_version, config_text, wait_for
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)
from test_examples import GIVEN, classification, multi, regression

PREDICTION, MODELS = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
TYPES: dict[str, Any] = {
    f"{PREDICTION}/Predict": predict_pb2.PredictRequest,
    f"{PREDICTION}/Classify": classification_pb2.ClassificationRequest,
    f"{PREDICTION}/Regress": regression_pb2.RegressionRequest,
    f"{PREDICTION}/MultiInference": inference_pb2.MultiInferenceRequest,
    f"{PREDICTION}/GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    f"{MODELS}/GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
    f"{MODELS}/HandleReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
}
RELOAD = f"{MODELS}/HandleReloadConfigRequest"
CODES = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
RELOAD_CODES = CODES | {"PERMISSION_DENIED", "UNKNOWN", "DEADLINE_EXCEEDED"}
"""A new model may have no version: then a reload waits, as TF-Serving's does."""

RELOAD_SHARE = 20
"""One in so many requests is a reload."""

MARGIN = 48 << 20


def mix(a: tf.Tensor, text: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"total": tf.reduce_sum(a, 1), "upper": tf.strings.upper(text)}


class Fuzzed:
    """A server under fuzz, and a good request of each method.

    Args:
        server: It.
        base: The model's folder.
    """

    def __init__(self, server: ServerProcess, base: Path):
        self.server = server
        self.channel = grpc.insecure_channel(server.address)
        reload = model_management_pb2.ReloadConfigRequest()
        reload.config.model_config_list.config.add(
            name="m", base_path=str(base), model_platform="tensorflow"
        )
        predict = predict_pb2.PredictRequest(output_filter=["total", "upper"])
        predict.model_spec.name = "m"
        predict.model_spec.signature_name = "mix"
        predict.inputs["a"].CopyFrom(tf.make_tensor_proto(np.int32([[1, 2], [3, 4]])))
        predict.inputs["text"].CopyFrom(tf.make_tensor_proto(["tea", "pot"]))
        metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        metadata.model_spec.name = "m"
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "m"
        status.model_spec.version.value = 1
        messages = (
            predict,
            classification("classes", *GIVEN),
            regression("half", *GIVEN),
            multi(("half", REGRESS), ("classes", CLASSIFY), given=GIVEN),
            metadata,
            status,
            reload,
        )
        self.good = dict(
            zip(TYPES, (message.SerializeToString() for message in messages), strict=True)
        )

    def code(self, method: str, data: bytes, timeout: float = PATIENCE) -> str:
        """How it answers; INTERNAL is right for what is no message, and for nothing else."""
        try:
            self.channel.unary_unary(f"/{method}")(data, timeout=timeout)
        except grpc.RpcError as error:
            code = str(error.code().name)
            if code == "INTERNAL" and not parses(TYPES[method], data):
                return "INVALID_ARGUMENT"
            return code if code in RELOAD_CODES else f"{code}: {error.details()}"
        return "OK"

    def check_good(self) -> None:
        """Every method answers what is right, once the model is served again as it was."""

        def answers() -> bool:
            assert self.code(RELOAD, self.good[RELOAD]) == "OK"
            return {self.code(method, data) for method, data in self.good.items()} == {"OK"}

        wait_for(answers, "right answers")

    def send(self, requests: Sequence[tuple[str, bytes]]) -> None:
        """Sends them, several at once, and looks at each code; reloads come last, one by one."""
        others = [each for each in requests if each[0] != RELOAD]
        with ThreadPoolExecutor(4) as pool:
            codes = list(pool.map(lambda each: self.code(*each), others))
        for (method, data), code in zip(others, codes, strict=True):
            assert code in CODES, (method, data, code)
        for method, data in requests:
            if method == RELOAD:
                code = self.code(method, data, timeout=0.3)
                assert code in RELOAD_CODES, (data, code)
        assert self.server.is_running
        self.check_good()


def parses(message: Callable[[], Any], data: bytes) -> bool:
    try:
        message().ParseFromString(data)
    except DecodeError:
        return False
    return True


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    folder = tmp_path_factory.mktemp("fuzzed")
    template = save_example_model(folder / "template", mix=mix_signature())
    base = folder / "models" / "m"
    add_version(base, 1, template)
    config = folder / "models.config"
    config.write_text(config_text(("m", base)))
    flags = {
        "model_config_file": config,
        "allowed_base_path": base.parent,
        "max_num_load_retries": 0,
        "file_system_poll_wait_seconds": 0.1,
    }
    with ServerProcess(folder / "log", **flags) as server:
        fuzzed = Fuzzed(server, base)
        fuzzed.check_good()
        yield fuzzed
        fuzzed.channel.close()


def mix_signature() -> Any:
    return tf.function(mix).get_concrete_function(
        a=tf.TensorSpec([None, None], tf.int32, "a"), text=tf.TensorSpec([None], tf.string, "text")
    )


def mutate(data: bytes, random_: random.Random) -> bytes:
    """Some bytes changed, left out, doubled, or put in; or the end cut off."""
    changed = bytearray(data)
    for _ in range(random_.choice([1, 1, 1, 2, 4, 16])):
        place = random_.randrange(len(changed) + 1)
        kind = random_.randrange(6)
        if kind == 0:
            changed[place : place + 1] = random_.randbytes(1)
        elif kind == 1:
            changed[place : place + 1] = bytes([1 << random_.randrange(8)])
        elif kind == 2:
            del changed[place : place + random_.randrange(1, 9)]
        elif kind == 3:
            changed[place:place] = changed[place : place + random_.randrange(1, 33)]
        elif kind == 4:
            # A long number, where one may stand.
            changed[place : place + 1] = b"\xff" * random_.randrange(1, 10) + b"\x7f"
        else:
            del changed[place:]
    return bytes(changed)


NUMBERS = (0, 1, 2, 7, 1 << 20, (1 << 31) - 1, (1 << 63) - 1)
TEXTS = ("", "m", "x", "half", "classes", "mix", "\0", "é" * 300, CLASSIFY, REGRESS)


def draw(field: Any, random_: random.Random) -> Any:
    """A value of a field that holds no message."""
    kind = field.cpp_type
    if kind == field.CPPTYPE_STRING:
        text = random_.choice(TEXTS)
        return text.encode() + b"\xff" if field.type == field.TYPE_BYTES else text
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return random_.choice((0.0, -1.5, float("nan"), float("inf")))
    if kind == field.CPPTYPE_BOOL:
        return random_.random() < 0.5
    bits = 63 if kind in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) else 31
    signs = (1, -1) if kind in (field.CPPTYPE_INT32, field.CPPTYPE_INT64) else (1,)
    return random_.choice(signs) * (random_.choice(NUMBERS) % (1 << bits))


def disturb(message: Any, random_: random.Random) -> None:
    """Sets, empties or fills one field, somewhere in a message."""
    if not message.DESCRIPTOR.fields:
        return
    field = random_.choice(message.DESCRIPTOR.fields)
    value = getattr(message, field.name)
    if random_.random() < 0.1:
        message.ClearField(field.name)
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, held = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        name = random_.choice([*value, draw(key, random_)])
        if held.message_type is not None:
            disturb(value[name], random_)
        else:
            value[name] = draw(held, random_)
    elif field.message_type is not None:
        if field.is_repeated and (not value or random_.random() < 0.2):
            value.add()
        elif not field.is_repeated:
            value.SetInParent()
        disturb(random_.choice(value) if field.is_repeated else value, random_)
    elif field.is_repeated:
        value.append(draw(field, random_))
    else:
        setattr(message, field.name, draw(field, random_))


def spoil(method: str, data: bytes, random_: random.Random) -> bytes:
    """Half of them in their fields, so that they parse; half in their bytes."""
    if random_.random() < 0.5:
        return mutate(data, random_)
    message = TYPES[method].FromString(data)
    for _ in range(random_.choice([1, 1, 2, 4])):
        disturb(message, random_)
    return bytes(message.SerializeToString())


def requests_of(fuzzed: Fuzzed, count: int, seed: int) -> list[tuple[str, bytes]]:
    random_ = random.Random(seed)
    methods = [method for method in TYPES if method != RELOAD]
    chosen = (
        RELOAD if number % RELOAD_SHARE == 0 else random_.choice(methods) for number in range(count)
    )
    return [(method, spoil(method, fuzzed.good[method], random_)) for method in chosen]


def test_the_changes_are_worth_sending(fuzzed: Fuzzed) -> None:
    """Some still parse, and some do not."""
    parsed = [parses(TYPES[method], data) for method, data in requests_of(fuzzed, 500, seed=0)]
    assert 100 < sum(parsed) < 400


def test_hundreds(fuzzed: Fuzzed) -> None:
    fuzzed.send(requests_of(fuzzed, 400, seed=1))


def claim(shape: Sequence[int], dtype: str = "DT_INT32") -> bytes:
    """A request of a few bytes that claims a large tensor."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", "mix"
    request.inputs["a"].CopyFrom(tf.make_tensor_proto(np.int32([[1]])))
    request.inputs["text"].dtype = dtype
    for size in shape:
        request.inputs["text"].tensor_shape.dim.add(size=size)
    return request.SerializeToString()


@pytest.mark.parametrize("dtype", ["DT_STRING", "DT_DOUBLE", "DT_BOOL"])
@pytest.mark.parametrize(
    "shape", [[1 << 27], [1 << 20, 1 << 20], [1 << 62, 1 << 62], [0, 1 << 62], [1] * 300]
)
def test_a_few_bytes_that_claim_much(fuzzed: Fuzzed, shape: list[int], dtype: str) -> None:
    """The memory is never taken."""
    before = fuzzed.server.memory()
    assert fuzzed.code(f"{PREDICTION}/Predict", claim(shape, dtype)) == "INVALID_ARGUMENT"
    assert fuzzed.server.memory() - before < MARGIN


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand(fuzzed: Fuzzed) -> None:
    """After the first thousands, which fill caches, memory stays where it is."""
    fuzzed.send(requests_of(fuzzed, 3_000, seed=2))
    before = fuzzed.server.memory()
    fuzzed.send(requests_of(fuzzed, 7_000, seed=3))
    grown = fuzzed.server.memory() - before
    print(f"{before >> 20} MiB, and {grown / (1 << 20):.1f} more after 7,000")
    assert grown < MARGIN
