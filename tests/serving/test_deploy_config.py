"""deploy/: configuration files that a TF-Serving takes, and the scripts beside them."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format, text_format
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.config import model_server_config_pb2
from tf_serving_facts import FLAGS, SERIES, message

import serving.export
from serving.export.cold_start import COLD_START
from serving.export.extras import BATCH_SIZES

DEPLOY = Path(serving.__path__[0]) / "deploy"
CONFIG = DEPLOY / "config"


def parsed(file: str, into: Any) -> Any:
    return text_format.Parse((CONFIG / file).read_text(encoding="utf-8"), into)


def test_models_are_the_ones_that_are_exported() -> None:
    forms = {
        "models.config": {serving.export.RECOMMENDER, serving.export.MATCHER, COLD_START},
        "models_scann.config": {
            serving.export.RECOMMENDER_SCANN,
            serving.export.MATCHER_SCANN,
            f"{COLD_START}_scann",
        },
    }
    for file, names in forms.items():
        models = parsed(file, model_server_config_pb2.ModelServerConfig()).model_config_list.config
        assert sorted(model.name for model in models) == sorted(names)
        for model in models:
            assert model.base_path == f"/models/{model.name}"
            assert model.model_platform == "tensorflow"


def test_the_versions_that_the_comment_tells_of_parse() -> None:
    text = (CONFIG / "models.config").read_text(encoding="utf-8")
    told = "".join(re.findall(r"^#   (.*)$", text, re.MULTILINE))
    model = text_format.Parse(told, model_server_config_pb2.ModelConfig())
    served = model.model_version_policy.specific.versions
    assert len(served) == 2 and sorted(model.version_labels.values()) == sorted(served)


def test_batching_is_one_that_tf_serving_accepts() -> None:
    batching = parsed("batching_parameters.txt", message("BatchingParameters"))
    sizes = list(batching.allowed_batch_sizes)
    # batching/batching_session.cc: increasing, and the last is the greatest batch.
    assert sizes == sorted(set(sizes)) and sizes[0] == 1
    assert sizes[-1] == batching.max_batch_size.value
    assert batching.num_batch_threads.value >= 1
    assert batching.batch_timeout_micros.value < 10_000  # of a request's time
    assert not batching.pad_variable_length_inputs
    assert sizes == list(BATCH_SIZES)  # what the exports are warmed up with


def test_the_monitoring_path_is_the_one_that_is_scraped() -> None:
    monitoring = parsed("monitoring.config", message("MonitoringConfig")).prometheus_config
    assert monitoring.enable
    scrape = yaml.safe_load((DEPLOY / "monitoring/prometheus.yml").read_text(encoding="utf-8"))
    (job,) = scrape["scrape_configs"]
    assert job["metrics_path"] == monitoring.path
    operator = DEPLOY / "kubernetes/service-monitor/service-monitor.yaml"
    (endpoint,) = yaml.safe_load(operator.read_text(encoding="utf-8"))["spec"]["endpoints"]
    assert endpoint["path"] == monitoring.path


@pytest.mark.parametrize("with_authority", [False, True])
def test_ssl_config_is_made_of_pem_files(tmp_path: Path, with_authority: bool) -> None:
    pems = {"server.key": "PRIVATE KEY", "server.crt": "CERTIFICATE", "ca.crt": "CERTIFICATE"}
    texts = [f"-----BEGIN {kind}-----\n{name}+/=\n-----END\n" for name, kind in pems.items()]
    for name, text in zip(pems, texts, strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = list(pems)[: 3 if with_authority else 2]
    done = ran(DEPLOY / "make_ssl_config.sh", *files, cwd=tmp_path)
    made = text_format.Parse(done.stdout, message("SSLConfig"))
    assert (made.server_key, made.server_cert) == (texts[0], texts[1])
    assert made.custom_ca == (texts[2] if with_authority else "")
    assert made.client_verify is with_authority


def test_ssl_config_of_a_missing_file(tmp_path: Path) -> None:
    done = ran(DEPLOY / "make_ssl_config.sh", "no.key", "no.crt", cwd=tmp_path)
    assert done.returncode == 1 and "no.key is missing" in done.stderr


def test_the_ssl_template_has_every_field() -> None:
    template = parsed("ssl.config.template", message("SSLConfig"))
    assert {field.name for field, _ in template.ListFields()} == set(
        template.DESCRIPTOR.fields_by_name
    )
    assert template.server_key.startswith("-----BEGIN PRIVATE KEY-----\n")


def test_every_flag_is_one_of_tf_servings() -> None:
    # Flags of more than one word, which docker, kubectl and pip write with hyphens.
    named = {
        flag
        for file in DEPLOY.rglob("*")
        if file.is_file()
        for flag in re.findall(r"--([a-z]+(?:_[a-z]+)+)\b", file.read_text(encoding="utf-8"))
    }
    assert named >= {"model_config_file", "batching_parameters_file", "ssl_config_file"}
    assert named <= FLAGS


def test_the_panel_asks_for_metrics_that_there_are() -> None:
    file = DEPLOY / "monitoring/grafana/dashboards/tf-serving.json"
    dashboard = json.loads(file.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [
        variable["query"]["query"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    assert len(queries) > 10
    asked = [
        match for query in queries for match in re.findall(r"(:[\w:]+\w)(?:{([^}]*)})?", query)
    ]
    assert {name for name, _ in asked} <= set(SERIES)
    for name, selector in asked:
        selected = set(re.findall(r"(\w+)\s*(?:=|!)", selector))
        assert selected <= set(SERIES[name].labels), name
    for query in queries:
        check_grouping(query)


def check_grouping(query: str) -> None:
    """What a query groups by are labels of what it asks for; `le` is a bucket's."""
    for labels, body in re.findall(r"by \(([^)]*)\) \(\w+\((:[\w:]+)", query):
        known = {*SERIES[body].labels, *(["le"] if body.endswith("_bucket") else [])}
        assert set(re.split(r",\s*", labels)) <= known, query


def test_quantiles_are_of_buckets() -> None:
    text = (DEPLOY / "monitoring/grafana/dashboards/tf-serving.json").read_text(encoding="utf-8")
    quantiles = re.findall(r"histogram_quantile\(.*?rate\((:[\w:]+)", text)
    assert quantiles and all(name.endswith("_bucket") for name in quantiles)


States = Mapping[str, list[int]]
AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
LOADING = get_model_status_pb2.ModelVersionStatus.LOADING
END = get_model_status_pb2.ModelVersionStatus.END


@contextmanager
def status_server(states: States) -> Iterator[int]:
    """A port that answers GET /v1/models/NAME as TF-Serving prints GetModelStatusResponse."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/v1/models/")
            response = get_model_status_pb2.GetModelStatusResponse()
            for version, state in enumerate(states.get(name, []), start=1):
                response.model_version_status.add(version=version, state=state)
            self.send_response(200 if name in states else 404)
            self.end_headers()
            self.wfile.write(json_format.MessageToJson(response).encode())

        def log_message(self, *args: object) -> None:
            """Not into the test's output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def ran(script: Path, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        **more,
    )


def ready(port: int, config: Path = CONFIG / "models.config") -> int:
    return ran(CONFIG / "ready.sh", str(config), env={"REST_PORT": str(port)}).returncode


ALL_READY: States = {"recommender": [AVAILABLE], "matcher": [AVAILABLE], COLD_START: [AVAILABLE]}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, 0),
        ({"matcher": [LOADING]}, 1),
        ({"matcher": [END]}, 1),
        # A new version that loads, or that failed, takes nothing from the one that answers.
        ({"matcher": [AVAILABLE, LOADING]}, 0),
        ({"matcher": [AVAILABLE, END]}, 0),
        ({COLD_START: []}, 1),
    ],
)
def test_ready_is_every_model_available(changed: States, expected: int) -> None:
    with status_server({**ALL_READY, **changed}) as port:
        assert ready(port) == expected


def test_not_ready_without_a_model_or_a_server(tmp_path: Path) -> None:
    with status_server({"recommender": [AVAILABLE], "matcher": [AVAILABLE]}) as port:
        assert ready(port) == 1  # cold_start: 404
    assert ready(port) == 1
    (tmp_path / "none.config").write_text('# name: "x"\nmodel_config_list {}\n')
    assert ready(port, tmp_path / "none.config") == 2
