"""What each method sends and reads, by the wheel's own messages at the other end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from fake_server import (
    HEALTH,
    KINDS,
    PREDICT,
    RELOAD,
    STATUS,
    Recorder,
    ask,
    ask_with,
    fake_server,
    predictor,
)
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    regression_pb2,
)

from serving.client import ModelSpec, Outputs, ServingClientError

CLASSIFY = "/tensorflow.serving.PredictionService/Classify"
REGRESS = "/tensorflow.serving.PredictionService/Regress"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"

pytestmark = pytest.mark.parametrize("kind", KINDS)


def two_recommended() -> Recorder:
    return predictor(
        item_ids=np.array([[b"a", "é".encode()], [b"b", b""]], object),
        scores=np.array([[2, 1], [0.5, -np.inf]], np.float32),
    )


TWO_RECOMMENDED = [[("a", 2.0), ("é", 1.0)], [("b", 0.5)]]


def test_recommend(kind: str) -> None:
    server = two_recommended()
    with fake_server({PREDICT: server}) as address:
        answer = ask(kind, address, "recommend", [["x"], ["y", "z"]], 2)
    assert answer == TWO_RECOMMENDED
    # In front and at the end, so that servers that fill up by the first element do so by "".
    assert server.inputs == {"item_ids": [[b"", b"x", b""], [b"", b"y", b"z"]], "k": 2}
    assert server.requests[0].model_spec.name == "recommender"
    assert server.requests[0].model_spec.signature_name == ""
    assert server.requests[0].inputs["k"].dtype == tf.int32.as_datatype_enum


@pytest.mark.parametrize(
    ("k", "arguments", "expected"),
    [
        (
            2,
            {"exclude": ["e"]},
            {"exclude": [[b"", b"e"], [b"", b"e"]], "allowed": [[b""]], "k": 2},
        ),
        (
            2,
            {"exclude": [["e"], []], "allowed": ["s", "t"]},
            {"exclude": [[b"", b"e"], [b"", b""]], "allowed": [[b"", b"s", b"t"]], "k": 2},
        ),
        (
            2,
            {"allowed": [["s"], ["t", "u"]]},
            {"exclude": [[b""], [b""]], "allowed": [[b"", b"s", b""], [b"", b"t", b"u"]], "k": 2},
        ),
        (
            [2, 1],
            {"allowed": ["s"]},
            {"exclude": [[b""], [b""]], "allowed": [[b"", b"s"], [b"", b"s"]], "k": [2, 1]},
        ),
    ],
)
def test_recommend_among(
    k: Any, arguments: dict[str, Any], expected: dict[str, Any], kind: str
) -> None:
    server = two_recommended()
    with fake_server({PREDICT: server}) as address:
        answer = ask_with(
            kind, address, lambda client: client.recommend([["x"], ["y"]], k, **arguments)
        )
    assert answer == TWO_RECOMMENDED
    assert server.requests[0].model_spec.signature_name == "recommend"
    assert server.inputs == {
        "item_ids": [[b"", b"x"], [b"", b"y"]],
        "k": expected["k"],
        "exclude_item_ids": expected["exclude"],
        "allowed_item_ids": expected["allowed"],
    }


def matched(**more: Any) -> Recorder:
    return predictor(
        embedding=np.array([[1, 2], [3, 4]], np.float32),
        source_item_ids=np.array([[b"food:1", b"music:2"], [b"", b""]], object),
        scores=np.array([[0.75, 0.5], [0, 0]], np.float32),
        weights=np.array([[0.5, 0.5], [0, 0]], np.float32),
        **more,
    )


def test_match(kind: str) -> None:
    server = matched(
        source_titles=np.array([["Thé".encode(), b""], [b"", b""]], object),
        source_domains=np.array([[b"food", b"music"], [b"", b""]], object),
    )
    with fake_server({PREDICT: server}) as address:
        first, blank = ask(kind, address, "match", ["tea", ""])
    assert (first.source_item_ids, first.scores) == (["food:1", "music:2"], [0.75, 0.5])
    assert (first.source_titles, first.source_domains) == (["Thé", ""], ["food", "music"])
    assert first.weights == [0.5, 0.5]
    assert first.embedding.tolist() == [1, 2] and blank.embedding.tolist() == [3, 4]
    assert blank.source_item_ids == blank.scores == blank.source_titles == []
    assert server.inputs == {"titles": [b"tea", b""]}


def test_match_by_an_export_that_tells_ids_alone(kind: str) -> None:
    with fake_server({PREDICT: matched()}) as address:
        first, _ = ask(kind, address, "match", ["tea", ""])
    assert first.source_item_ids == ["food:1", "music:2"]
    assert first.source_titles == first.source_domains == []


def test_score(kind: str) -> None:
    server = predictor(scores=np.array([[-np.inf, 1, 2], [-np.inf, 3, -np.inf]], np.float32))
    with fake_server({PREDICT: server}) as address:
        answer = ask(kind, address, "score", [["x"], ["y"]], [["a", "b"], ["c"]])
    assert answer == [[1.0, 2.0], [3.0]]
    assert server.inputs == {
        "item_ids": [[b"", b"x"], [b"", b"y"]],
        "candidate_item_ids": [[b"", b"a", b"b"], [b"", b"c", b""]],
    }
    spec = server.requests[0].model_spec
    assert (spec.name, spec.signature_name) == ("recommender", "score")


def test_cold_start(kind: str) -> None:
    server = two_recommended()
    with fake_server({PREDICT: server}) as address:
        answer = ask(kind, address, "cold_start", [["green tea", "tea pot"], ["cup"]], [2, 1])
    assert answer == TWO_RECOMMENDED
    titles = [[b"", b"green tea", b"tea pot"], [b"", b"cup", b""]]
    assert server.inputs == {"titles": titles, "k": [2, 1]}
    assert server.requests[0].model_spec.name == "cold_start"


def test_predict_of_a_version(kind: str) -> None:
    server = predictor(x=np.array([1, 2], np.int64))
    with fake_server({PREDICT: server}) as address:
        outputs = ask(kind, address, "predict", ModelSpec("m", version=7), {"a": [1.5]}, "sig")
        ask(kind, address, "predict", ModelSpec("m", label="stable"), {})
    assert isinstance(outputs, Outputs)
    assert outputs["x"].tolist() == [1, 2] and outputs["x"].dtype == np.int64
    assert (outputs.version, outputs.signature) == (7, "recommend")
    by_version, by_label = (request.model_spec for request in server.requests)
    assert (by_version.version.value, by_version.signature_name) == (7, "sig")
    assert (by_label.version_label, by_label.HasField("version")) == ("stable", False)


def test_classify(kind: str) -> None:
    answer = classification_pb2.ClassificationResponse()
    classes = answer.result.classifications.add().classes
    classes.add(label="a", score=0.5)
    classes.add(label="b", score=0.25)
    answer.result.classifications.add()
    server = Recorder(classification_pb2.ClassificationRequest, answer)
    example = {"ids": ["é", b"b"], "n": [1, 2], "x": [1, 0.5], "none": []}
    with fake_server({CLASSIFY: server}) as address:
        assert ask(kind, address, "classify", "m", [example, {}], "sig") == [
            [("a", 0.5), ("b", 0.25)],
            [],
        ]
    (request,) = server.requests
    assert (request.model_spec.name, request.model_spec.signature_name) == ("m", "sig")
    first, second = request.input.example_list.examples
    feature = first.features.feature
    assert feature["ids"].bytes_list.value == ["é".encode(), b"b"]
    assert feature["n"].int64_list.value == [1, 2]
    assert feature["x"].float_list.value == [1, 0.5]
    assert feature["none"].WhichOneof("kind") is None
    assert not second.features.feature


def test_regress_with_context(kind: str) -> None:
    answer = regression_pb2.RegressionResponse()
    answer.result.regressions.add(value=0.5)
    server = Recorder(regression_pb2.RegressionRequest, answer)
    with fake_server({REGRESS: server}) as address:
        answer = ask_with(
            kind,
            address,
            lambda client: client.regress("m", [{"n": [1]}], context={"user": ["u"]}),
        )
    assert answer == [0.5]
    sent = server.requests[0].input.example_list_with_context
    assert sent.context.features.feature["user"].bytes_list.value == [b"u"]
    assert sent.examples[0].features.feature["n"].int64_list.value == [1]


def test_no_examples_are_still_a_list(kind: str) -> None:
    answer = regression_pb2.RegressionResponse()
    server = Recorder(regression_pb2.RegressionRequest, answer)
    with fake_server({REGRESS: server}) as address:
        assert ask(kind, address, "regress", "m", []) == []
    assert server.requests[0].input.WhichOneof("kind") == "example_list"


def test_metadata(kind: str) -> None:
    answer = get_model_metadata_pb2.GetModelMetadataResponse()
    signatures = get_model_metadata_pb2.SignatureDefMap()
    info = signatures.signature_def["s"].inputs["x"]
    info.dtype = tf.bfloat16.as_datatype_enum
    info.tensor_shape.dim.add(size=-1)
    answer.metadata["signature_def"].Pack(signatures)
    server = Recorder(get_model_metadata_pb2.GetModelMetadataRequest, answer)
    with fake_server({METADATA: server}) as address:
        assert ask(kind, address, "metadata", "m") == {
            "s": {"inputs": {"x": {"dtype": "DT_BFLOAT16", "shape": [-1]}}, "outputs": {}}
        }
    assert list(server.requests[0].metadata_field) == ["signature_def"]


def test_status(kind: str) -> None:
    answer = get_model_status_pb2.GetModelStatusResponse()
    version = answer.model_version_status.add(version=2, state=50)
    version.status.error_code, version.status.error_message = 5, "gone"
    answer.model_version_status.add(version=3, state=35)
    server = Recorder(get_model_status_pb2.GetModelStatusRequest, answer)
    with fake_server({STATUS: server}) as address:
        ended, unknown = ask(kind, address, "status", "m")
    assert (ended.version, ended.state, ended.error) == (2, "END", "gone")
    assert unknown.state == "35"


def test_reload_config(kind: str) -> None:
    answer = model_management_pb2.ReloadConfigResponse()
    server = Recorder(model_management_pb2.ReloadConfigRequest, answer)
    text = 'model_config_list { config { name: "m" base_path: "/m" } }'
    with fake_server({RELOAD: server}) as address:
        assert ask(kind, address, "reload_config", text) is None
        answer.status.error_code, answer.status.error_message = 3, "no such path"
        with pytest.raises(ServingClientError, match="INVALID_ARGUMENT: no such path"):
            ask(kind, address, "reload_config", text)
        with pytest.raises(ServingClientError, match="not a ModelServerConfig in text format"):
            ask(kind, address, "reload_config", "models: none")
    assert [r.config.model_config_list.config[0].name for r in server.requests] == ["m", "m"]


@pytest.mark.parametrize(
    ("written", "status"),
    [(b"", "UNKNOWN"), (b"\x08\x01", "SERVING"), (b"\x08\x02", "NOT_SERVING")],
)
def test_health(written: bytes, status: str, kind: str) -> None:
    seen: list[bytes] = []

    def answer(request: bytes, context: Any) -> bytes:
        seen.append(request)
        return written

    with fake_server({HEALTH: answer}) as address:
        assert ask(kind, address, "health", "abc") == status
    assert seen == [b"\x0a\x03abc"]


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed(compression: str, kind: str) -> None:
    server = two_recommended()
    with fake_server({PREDICT: server}) as address:
        history = [["x" * 10_000], ["y"]]
        assert ask(kind, address, "recommend", history, compression=compression) == TWO_RECOMMENDED
    assert server.inputs["item_ids"] == [[b"", b"x" * 10_000], [b"", b"y"]]
