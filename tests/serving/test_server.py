"""What a good request gets, which version answers, and how a server starts and ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from small_models import Caller
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from idp_tf.errors import ServingError
from serving.client import ServingClient
from serving.export import write_models_config
from serving.server import ModelServer
from serving.server.version_source import choose_versions

FLAGS: dict[str, Any] = {"tensorflow_session_parallelism": 1, "max_num_load_retries": 0}


def test_the_response_tells_what_answered(
    server: ModelServer, predict_request: Callable[..., Any]
) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(predict_request())
    assert response.model_spec.name == "recommender"
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value == 1
    scores = response.outputs["scores"]
    assert scores.dtype == types_pb2.DT_FLOAT
    assert [dim.size for dim in scores.tensor_shape.dim] == [1, 3]
    assert len(scores.float_val) == 3
    assert scores.tensor_content == b""
    assert len(response.outputs["item_ids"].string_val) == 3


def test_output_filter(server: ModelServer, predict_request: Callable[..., Any]) -> None:
    request = predict_request()
    request.output_filter.append("num_known")
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert list(stub.Predict(request).outputs) == ["num_known"]


def test_checks_in_the_graph_hold_whatever_is_fetched(
    server: ModelServer, predict_request: Callable[..., Any]
) -> None:
    request = predict_request(item_ids=[["nobody"]], k=np.int32(1))
    request.output_filter.append("num_known")
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_metadata_gives_the_signature(server: ModelServer) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "recommender_scann"
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.GetModelMetadata(request)
    assert response.model_spec.version.value == 1
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert sorted(signature.inputs) == ["item_ids", "k"]
    assert sorted(signature.outputs) == ["item_ids", "num_known", "scores"]


def copy_exports(exports: Path, folder: Path) -> Path:
    """A copy whose models.config points into it."""
    shutil.copytree(exports, folder, dirs_exist_ok=True)
    return write_models_config(folder)


def test_the_latest_version_answers(exports: Path, tmp_path: Path) -> None:
    config = copy_exports(exports, tmp_path)
    recommender = tmp_path / "recommender"
    shutil.copytree(recommender / "1", recommender / "12")
    (recommender / ".13.tmp").mkdir()
    (recommender / "notes").mkdir()
    with ModelServer(config, 0, **FLAGS) as server, ServingClient(server.address) as client:
        assert [v.version for v in client.status("recommender")] == [12]


def test_a_requested_version_and_labels(
    exports: Path, tmp_path: Path, predict_request: Callable[..., Any]
) -> None:
    config = copy_exports(exports, tmp_path)
    recommender = tmp_path / "recommender"
    shutil.copytree(recommender / "1", recommender / "2")
    config.write_text(
        "model_config_list { config {"
        f' name: "recommender" base_path: "{recommender}" model_platform: "tensorflow"'
        " model_version_policy { all {} }"
        ' version_labels { key: "old" value: 1 } } }'
    )
    labels = {"allow_version_labels_for_unavailable_models": True}
    with ModelServer(config, 0, **FLAGS, **labels) as server:
        with grpc.insecure_channel(server.address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            both = {2: "AVAILABLE", 1: "AVAILABLE"}
            Caller(channel, server).wait_for_states(both, "recommender")
            latest, by_number, by_label = (predict_request() for _ in range(3))
            by_number.model_spec.version.value = 1
            by_label.model_spec.version_label = "old"
            versions = [
                stub.Predict(request).model_spec.version.value
                for request in (latest, by_number, by_label)
            ]
        with ServingClient(server.address) as client:
            assert [v.version for v in client.status("recommender")] == [2, 1]
    assert versions == [2, 1, 1]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", [9]),
        ("latest { num_versions: 2 }", [3, 9]),
        ("all {}", [1, 3, 9]),
        ("specific { versions: 3 versions: 4 }", [3]),
    ],
)
def test_version_policies(policy: str, expected: list[int]) -> None:
    from google.protobuf import text_format
    from tensorflow_serving.config import file_system_storage_path_source_pb2 as source_pb2

    message = source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy()
    found = {number: Path(str(number)) for number in (9, 1, 3)}
    chosen = choose_versions(found, text_format.Parse(policy, message))
    assert sorted(chosen) == expected
    assert all(chosen[number] == found[number] for number in expected)


def test_a_model_that_cannot_be_loaded_at_the_start(exports: Path, tmp_path: Path) -> None:
    """As in ``core/load_servables_fast.cc``: the server does not begin to answer."""
    config = copy_exports(exports, tmp_path)
    file = tmp_path / "recommender" / "1" / "saved_model.pb"
    file.write_bytes(b"no graph")
    server = ModelServer(config, 0, **FLAGS)
    with pytest.raises(ServingError) as caught:
        server.start()
    assert caught.value.problem == (
        "1 servable(s) did not become available: {{{name: recommender version: 1} due to error: "
        f"DATA_LOSS: Can't parse {file} as binary proto}}, }}"
    )
    assert caught.value.where == str(config)


def test_a_warm_up_request_that_fails(
    exports: Path, tmp_path: Path, predict_request: Callable[..., Any]
) -> None:
    import tensorflow as tf

    config = copy_exports(exports, tmp_path)
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(predict_request(item_ids=[["nobody"]], k=np.int32(1)))
    file = tmp_path / "recommender" / "1" / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(log.SerializeToString())
    with pytest.raises(ServingError, match="INVALID_ARGUMENT: .*no known item id"):
        ModelServer(config, 0, **FLAGS).start()
    cold = ModelServer(config, 0, **FLAGS, enable_model_warmup=False)
    with cold as server, ServingClient(server.address) as client:
        assert client.status("recommender")[0].state == "AVAILABLE"


def test_a_port_in_use(server: ModelServer, exports: Path) -> None:
    with pytest.raises(ServingError, match="port is in use"):
        ModelServer(exports / "models.config", server.port).start()
