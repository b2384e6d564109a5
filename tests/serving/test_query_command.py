"""``idp-tf query``: what it asks, what it refuses, and that it waits for no TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from certificates import Authority
from fake_server import PREDICT, fake_server
from tensorflow_serving.apis import predict_pb2
from tiny_world import invoke

ROOT = Path(__file__).resolve().parents[2]


class Answering:
    """Recommends "b" always, and keeps the last request."""

    model = signature = ""
    inputs: dict[str, Any]

    def __call__(self, raw: bytes, context: Any) -> bytes:
        request = predict_pb2.PredictRequest.FromString(raw)
        self.model = request.model_spec.name
        self.signature = request.model_spec.signature_name
        self.inputs = {
            name: tf.make_ndarray(proto).tolist() for name, proto in request.inputs.items()
        }
        response = predict_pb2.PredictResponse()
        response.outputs["item_ids"].CopyFrom(tf.make_tensor_proto(np.array([[b"b"]], object)))
        response.outputs["scores"].CopyFrom(tf.make_tensor_proto(np.float32([[0.5]])))
        return response.SerializeToString()


@pytest.fixture(scope="module")
def server() -> Answering:
    return Answering()


@pytest.fixture(scope="module")
def address(server: Answering) -> Iterator[str]:
    with fake_server({PREDICT: server}) as address:
        yield address


def answer(*arguments: object) -> dict[str, Any]:
    done = invoke("query", "--json", *arguments)
    assert done.code == 0, done.err
    read: dict[str, Any] = json.loads(done.out)
    assert read["recommendations"] == [{"item_id": "b", "score": 0.5}]
    return read


def test_items(server: Answering, address: str) -> None:
    read = answer("--items", "x, y,", "--address", address, "--k", 1)
    assert read["items"] == ["x", "y"]
    assert server.inputs == {"item_ids": [[b"", b"x", b"y"]], "k": 1}
    assert (server.model, server.signature) == ("recommender", "")


def test_exclude_and_allowed(server: Answering, address: str, tmp_path: Path) -> None:
    (tmp_path / "stock.txt").write_text("b\n c, d\n\n", encoding="utf-8")
    answer(
        *("--items", "x", "--address", address, "--exclude", "y,z"),
        *("--allowed", f"@{tmp_path / 'stock.txt'}", "--model", "recommender_scann"),
    )
    assert (server.model, server.signature) == ("recommender_scann", "recommend")
    assert server.inputs["exclude_item_ids"] == [[b"", b"y", b"z"]]
    assert server.inputs["allowed_item_ids"] == [[b"", b"b", b"c, d"]]


def test_a_history_of_titles(server: Answering, address: str) -> None:
    titles = ("--titles-history", "Green tea, loose", "--titles-history", "Tea pot")
    read = answer(*titles, "--address", address)
    assert read["items"] == ["Green tea, loose", "Tea pot"]
    assert server.inputs == {"titles": [[b"", b"Green tea, loose", b"Tea pot"]], "k": 10}
    assert server.model == "cold_start"


def test_tls(server: Answering, tmp_path: Path) -> None:
    import grpc

    authority = Authority(tmp_path, "authority")
    certificate, key = (file.read_bytes() for file in authority.sign("server"))
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], authority.file.read_bytes(), require_client_auth=True
    )
    mine = authority.sign("client")
    with fake_server({PREDICT: server}, credentials=credentials) as address:
        asked = ("--items", "x", "--address", address, "--tls-ca", authority.file)
        answer(*asked, "--tls-cert", mine[0], "--tls-key", mine[1])
        assert "a server hangs up" in invoke("query", *asked).err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "a history is given by --items or by --titles-history"),
        (("--items", "a", "--titles-history", "b"), "not by both"),
        (("--items", " , "), "which names no item"),
        (("--items", "@nowhere.txt"), "--items @nowhere.txt: cannot be read"),
        (("--items", "a", "--allowed", ""), "allowed names no item"),
        (("--titles-history", "a", "--allowed", "b"), "over the whole catalogue"),
        (("--items", "a", "--tls-cert", "c.pem"), "--tls-cert and --tls-key are given together"),
        (("--items", "a", "--tls-ca", "nowhere.pem"), "nowhere.pem cannot be read"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], words: str, address: str) -> None:
    done = invoke("query", "--address", address, *arguments)
    assert done.code == 2 and done.err.startswith("Error: ")
    assert words in done.err


def test_it_imports_no_tensorflow(address: str) -> None:
    program = (
        "import atexit, sys; from idp_tf.cli import main;"
        "tell = lambda: print(sorted({n.partition('.')[0] for n in sys.modules}), file=sys.stderr);"
        "atexit.register(tell); main()"
    )
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", program, "query", "--items", "x", "--address", address],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    after = os.times()
    assert done.returncode == 0 and "0.5000" in done.stdout
    assert "'grpc'" in done.stderr
    for heavy in ("tensorflow", "keras", "tf_keras", "tensorflow_serving", "scann", "polars"):
        assert f"'{heavy}'" not in done.stderr
    # TensorFlow alone would take more.
    spent = after.children_user + after.children_system
    assert spent - before.children_user - before.children_system < 2.0
