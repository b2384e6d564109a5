"""The page for Prometheus: its text by hand from TF-Serving's util/prometheus_exporter.cc,
and read by Prometheus' own parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from example_model import CLASSIFY, save_example_model
from prometheus_client.parser import text_string_to_metric_families
from rest_model import ask
from small_models import PATIENCE, Caller, add_version, config_text, failure
from tensorflow_serving.apis import (
    model_management_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from test_examples import GIVEN, classification, multi

from idp_tf.errors import ServingError
from serving.server import ModelServer
from serving.server.metrics import MAX_CELLS, OTHERS, Metric, Metrics, exponential

PAGE = "/monitoring/prometheus/metrics"
ROOT = ":tensorflow:serving:"


def samples(page: str) -> dict[tuple[Any, ...], float]:
    """(name, *label values) -> value, as Prometheus reads the page.

    Names are without their root, and without the suffix that its parser gives every counter.
    """
    return {
        (name(sample.name), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def name(found: str) -> str:
    return found.removeprefix(ROOT).removesuffix("_total")


def test_a_counter() -> None:
    metric = Metric(":hits", ("model_name", "status"))
    metric.add(1, 'a"\\\n', "OK")
    metric.add(2, 'a"\\\n', "OK")
    metric.add(1, "b", "NOT_FOUND")
    assert list(metric.lines()) == [
        "# TYPE :hits counter",
        ':hits{model_name="a\\"\\\\\\n",status="OK"} 3',
        ':hits{model_name="b",status="NOT_FOUND"} 1',
    ]


def test_a_histogram() -> None:
    """A value that equals a bound is above it (TensorFlow's core/lib/histogram)."""
    metric = Metric(":time", ("m",), exponential(10, 1.8, 3))
    for value in (3, 10, 18.5, 1e9):
        metric.add(value, "x")
    assert list(metric.lines()) == [
        "# TYPE :time histogram",
        ':time_bucket{m="x",le="10"} 1',
        ':time_bucket{m="x",le="18"} 2',
        ':time_bucket{m="x",le="32.4"} 3',
        ':time_bucket{m="x",le="+Inf"} 4',
        ':time_sum{m="x"} 1000000031.5',
        ':time_count{m="x"} 4',
    ]


def test_without_labels() -> None:
    metric = Metric(":sizes", (), (1,))
    metric.add(2)
    assert list(metric.lines())[1:] == [
        ':sizes_bucket{le="1"} 0',
        ':sizes_bucket{le="+Inf"} 1',
        ":sizes_sum{} 2",
        ":sizes_count{} 1",
    ]


def test_names_of_models_that_are_not_there_take_no_memory_without_end() -> None:
    metrics = Metrics()
    for number in range(2 * MAX_CELLS):
        metrics.count_request(f"m{number}", "NOT_FOUND")
    metrics.count_request("m0", "NOT_FOUND")
    found = samples(metrics.page())
    assert found["request_count", "m0", "NOT_FOUND"] == 2
    assert found["request_count", OTHERS, OTHERS] == MAX_CELLS
    assert len(found) == MAX_CELLS + 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A config and a version of the model of examples with one warm-up request."""
    version = add_version(tmp_path / "m", 3, save_example_model(tmp_path / "template"))
    (version / "assets.extra").mkdir()
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(file)) as writer:
        log = prediction_log_pb2.PredictionLog()
        log.classify_log.request.CopyFrom(classification("", *GIVEN))
        writer.write(log.SerializeToString())
    (tmp_path / "models.config").write_text(config_text(("m", tmp_path / "m")))
    (tmp_path / "monitoring.config").write_text("prometheus_config { enable: true }")
    (tmp_path / "batching.config").write_text(
        'allowed_batch_sizes: [4] max_batch_size { value: 4 } thread_pool_name { value: "batches" }'
    )
    return tmp_path


def test_a_server_counts_what_it_answers(folder: Path) -> None:
    with (
        ModelServer(
            folder / "models.config",
            0,
            rest_api_port=-1,
            monitoring_config_file=str(folder / "monitoring.config"),
            enable_batching=True,
            batching_parameters_file=str(folder / "batching.config"),
        ) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        stub.Classify(classification("", *GIVEN), timeout=PATIENCE)
        stub.MultiInference(multi(("scores", CLASSIFY), given=GIVEN), timeout=PATIENCE)
        missing = predict_pb2.PredictRequest(model_spec={"name": "x"})
        assert failure(lambda: stub.Predict(missing, timeout=PATIENCE))[0] == "NOT_FOUND"
        body = '{"signature_name": "half", "examples": [{}]}'
        assert ask(server.rest_url, "/v1/models/m:regress", body).status == 200
        assert ask(server.rest_url, "/v1/models/m").status == 200
        answer = ask(server.rest_url, PAGE)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain")
    found = samples(answer.body)
    counts = {key: value for key, value in found.items() if key[0] == "request_count"}
    assert counts == {
        # Neither MultiInference nor what gRPC asks of a model is counted.
        ("request_count", "m", "OK"): 3,
        ("request_count", "x", "NOT_FOUND"): 1,
    }
    latencies = {key: value for key, value in found.items() if key[0].endswith("latency_count")}
    path = str(folder / "m" / "3")
    assert latencies == {
        ("request_latency_count", "m", "Classify", "GRPC"): 1,
        ("request_latency_count", "m", "regress", "REST"): 1,
        ("request_latency_count", "m", "", "REST"): 1,
        ("runtime_latency_count", "m", "Classify", "TF1"): 1,
        ("runtime_latency_count", "m", "Regress", "TF1"): 1,
        ("model_warmup_latency_count", path, "OK"): 1,
        ("batching_session:queuing_latency_count", "batches"): 3,
    }
    assert found["model_warmup_records_read", path, "OK"] == 1
    assert found["request_example_count", "m"] == len(GIVEN)
    assert found["batching_session:wrapped_run_count",] == 3
    assert found["batching_session:input_batch_size_sum",] == 2 + 2 + 1
    assert found["batching_session:processed_batch_size_sum",] == 3 * 4
    assert found["batching_session:padding_size_sum", "4"] == 2 + 2 + 3
    slowest = found["runtime_latency_sum", "m", "Classify", "TF1"]
    assert 0 < slowest <= found["request_latency_sum", "m", "Classify", "GRPC"] < 60e6


def test_the_config_says_where(launch: Any, tmp_path: Path) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text('prometheus_config { enable: true path: "/v1/numbers" }')
    caller: Caller = launch(rest_api_port=-1, monitoring_config_file=str(file))
    assert caller.server is not None
    caller.answering()
    found = samples(ask(caller.server.rest_url, "/v1/numbers").body)
    assert found["request_count", "m", "OK"] == 1
    assert ask(caller.server.rest_url, PAGE).status == 404


def test_without_a_config_there_is_no_page(launch: Any, tmp_path: Path) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text("prometheus_config { enable: false }")
    for flags in ({}, {"monitoring_config_file": str(file)}):
        server = launch(rest_api_port=-1, **flags).server
        assert ask(server.rest_url, PAGE).status == 404


def test_a_config_that_is_none(launch: Any, tmp_path: Path) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text("prometheus { }")
    with pytest.raises(ServingError, match="not a MonitoringConfig"):
        launch(rest_api_port=-1, monitoring_config_file=str(file))


def test_a_reload_tells_by_how_much_a_count_has_grown(launch: Any, base: Path) -> None:
    """``model_servers/model_service_impl.cc``: the first label set, here the first model's."""
    caller = launch()
    name, latency = "/tensorflow/serving/request_count", "/tensorflow/serving/request_latency"
    request = model_management_pb2.ReloadConfigRequest(metric_names=[name, latency])
    late = base.with_name("late")
    late.mkdir()
    for model, folder in (("m", base), ("late", late)):
        request.config.model_config_list.config.add(
            name=model, base_path=str(folder), model_platform="tensorflow"
        )
    caller.answering()
    reload = caller.models.HandleReloadConfigRequest.future(request, timeout=PATIENCE)
    # The state of a question after it shows that it has begun.
    caller.states()
    assert [caller.answering() for _ in range(3)] == [1, 1, 1]
    assert not reload.done()
    (base / "1").rename(late / "1")
    grown = {metric.name: metric.int64_value_increase for metric in reload.result().metric}
    assert grown == {name: 3, latency: 0}


def test_bounds_are_tensorflows() -> None:
    """monitoring::Buckets::Exponential(10, 1.8, 33), "about 20 minutes" in microseconds."""
    bounds = exponential(10, 1.8, 33)
    assert len(bounds) == 33 and bounds[0] == 10
    np.testing.assert_allclose(bounds[-1], 10 * 1.8**32)
