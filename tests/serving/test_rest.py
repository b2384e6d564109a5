"""The REST API of a running server, over HTTP.

Bodies are written by hand from TF-Serving's util/json_tensor.cc and RapidJSON's PrettyWriter;
paths, codes and messages from its model_servers/http_*.cc.
"""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rest_model import Answer, ask, save_rest_model
from small_models import PATIENCE, Caller, add_version, config_text

from idp_tf.errors import ServingError, SettingsError
from serving.server import ModelServer, ServerOptions

Launch = Callable[..., Caller]
Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    folder = tmp_path_factory.mktemp("rest")
    add_version(folder / "m", 3, save_rest_model(folder / "template"))
    add_version(folder / "m", 5, folder / "template")
    (folder / "models.config").write_text(
        config_text(
            ("m", folder / "m"),
            extra="model_version_policy { all {} } version_labels { key: 'old' value: 3 }",
        )
    )
    (folder / "monitoring.config").write_text("prometheus_config { enable: true }")
    with ModelServer(
        folder / "models.config",
        0,
        rest_api_port=-1,
        monitoring_config_file=str(folder / "monitoring.config"),
        grpc_channel_arguments="grpc.max_receive_message_length=100000",
        tensorflow_session_parallelism=1,
        allow_version_labels_for_unavailable_models=True,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def rest(server: ModelServer) -> Ask:
    return lambda path, *more, **options: ask(server.rest_url, path, *more, **options)


def error_of(answer: Answer) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/json"
    (name, message), *others = json.loads(answer.body).items()
    assert name == "error" and not others
    return answer.status, message


def test_rows_of_one_tensor(rest: Ask) -> None:
    answer = rest("/v1/models/m:predict", '{"instances": [1, 0.1, 1e30]}')
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == '{\n    "predictions": [2.0, 0.2, 2e+30\n    ]\n}'


def test_a_column_of_one_tensor(rest: Ask) -> None:
    answer = rest("/v1/models/m:predict", '{"inputs": [1.0, 2.5]}')
    assert answer.body == '{\n    "outputs": [\n        2.0,\n        5.0\n    ]\n}'
    named = rest("/v1/models/m:predict", '{"inputs": {"x": [1.0, 2.5]}}')
    assert named.body == answer.body


ROWS = """{
    "predictions": [
        {
            "pair": [1.5, -1.5],
            "text": "t\\u001Fé\\"!",
            "text_bytes": {
                "b64": "dB/DqSI="
            }
        },
        {
            "pair": [NaN, NaN],
            "text": "<b>/!",
            "text_bytes": {
                "b64": "PGI+Lw=="
            }
        }
    ]
}"""

COLUMNS = """{
    "outputs": {
        "pair": [
            [
                Infinity,
                -Infinity
            ]
        ],
        "text": [
            "a!"
        ],
        "text_bytes": [
            {
                "b64": "YQ=="
            }
        ]
    }
}"""


def test_rows_of_named_tensors(rest: Ask) -> None:
    text = base64.b64encode('t\x1fé"'.encode()).decode()
    body = f"""{{"signature_name": "describe", "instances": [
        {{"x": 1.5, "text": {{"b64": "{text}"}}}}, {{"text": "<b>/", "x": NaN}}]}} and more"""
    assert rest("/v1/models/m:predict", body).body == ROWS


def test_columns_of_named_tensors(rest: Ask) -> None:
    body = '{"signature_name":"describe","inputs":{"x":[Infinity],"text":["a"],"more":1}}'
    assert rest("/v1/models/m/versions/5:predict", body).body == COLUMNS


def test_a_scalar_output(rest: Ask) -> None:
    body = '{"signature_name": "sum", "%s": [1, 2]}'
    assert rest("/v1/models/m:predict", body % "inputs").body == '{\n    "outputs": 3.0\n}'
    answer = rest("/v1/models/m:predict", body % "instances")
    assert error_of(answer) == (400, "Tensor name: y has no shape information ")
    body = '{"signature_name": "uneven", "instances": [1, 2]}'
    assert error_of(rest("/v1/models/m:predict", body)) == (
        400,
        "Tensor name: b has inconsistent batch size: 1 expecting: 2",
    )


def test_classify(rest: Ask) -> None:
    body = """{"signature_name": "classes", "context": {"x": 2.0}, "examples":
        [{"name": "tea"}, {"name": ["pot"], "x": [-0.5]}]}"""
    assert rest("/v1/models/m:classify", body).body == (
        '{\n    "results": [[["tea+", 2.0], ["tea-", -2.0]], [["pot+", -0.5], ["pot-", 0.5]]\n'
        "    ]\n}"
    )


def test_regress(rest: Ask) -> None:
    body = '{"signature_name": "half", "examples": [{"x": 2.0}, {}]}'
    assert rest("/v1/models/m:regress", body).body == '{\n    "results": [3.0, 2.0]\n}'
    assert error_of(rest("/v1/models/m:regress", '{"examples": []}')) == (
        400,
        """JSON Value: {\n    "examples": []\n} 'examples' value is an empty array""",
    )


STATUS = """{
 "model_version_status": [
  {
   "version": "3",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
"""


def test_status(rest: Ask) -> None:
    assert rest("/v1/models/m/versions/3").body == STATUS
    # A label is not looked at (model_servers/get_model_status_impl.cc).
    for path in ("/v1/models/m?some=query", "/v1/models/m/labels/old"):
        every = json.loads(rest(path).body)["model_version_status"]
        assert [status["version"] for status in every] == ["5", "3"]


def test_metadata(rest: Ask) -> None:
    answer = rest("/V1/Models/m/labels/old/metadata")
    assert answer.body.startswith('{\n"model_spec":{\n "name": "m",\n')
    found = json.loads(answer.body)
    assert found["model_spec"] == {"name": "m", "signature_name": "", "version": "3"}
    signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["x"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}],
        "unknown_rank": False,
    }


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/models/m", "{}", 400, "Malformed request: POST /v1/models/m"),
        ("/v1/models/m:predict", None, 400, "Malformed request: GET /v1/models/m:predict"),
        ("/v1/models/m:PREDICT", "{}", 400, "Malformed request: POST /v1/models/m:PREDICT"),
        ("/v1/other?a=1", None, 400, "Malformed request: GET /v1/other"),
        ("/v1/models", None, 400, "Missing model name in request."),
        ("/v1/models/x", None, 404, "Could not find any versions of model x"),
        ("/v1/models/x%20y/metadata", None, 404, "Servable not found for request: Latest(x y)"),
        ("/v1/models/m/versions/9", None, 404, "Could not find version 9 of model m"),
        (
            "/v1/models/m/versions/99999999999999999999",
            None,
            400,
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
        # More digits than Python reads; TF-Serving says so of any that are no int64.
        ("/v1/models/m/versions/" + "9" * 5_000, None, 400, "Failed to convert version: 999"),
        (
            "/v1/models/m/labels/new:predict",
            '{"instances": [1]}',
            400,
            "Unrecognized servable version label: new",
        ),
        (
            "/v1/models/m:predict",
            '{"signature_name": "s", "instances": [1]}',
            400,
            'Serving signature name: "s" not found in signature def',
        ),
        ("/v1/models/m:predict", "", 400, "JSON Parse error: The document is empty"),
        (
            "/v1/models/m:classify",
            '{"examples": [{}]}',
            400,
            "No classification inputs found in SignatureDef: ",
        ),
    ],
)
def test_errors(rest: Ask, path: str, body: str | None, status: int, message: str) -> None:
    code, said = error_of(rest(path, body))
    assert (code, said[: len(message)]) == (status, message)


def test_an_error_body_to_the_letter(rest: Ask) -> None:
    assert rest("/v1/models").body == '{\n    "error": "Missing model name in request."\n}'


def test_other_methods_and_paths(rest: Ask) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        answer = rest("/v1/models/m", method=method)
        assert error_of(answer) == (400, f"Malformed request: {method} /v1/models/m")
    assert rest("/").status == 404
    assert rest("/v2/models/m").status == 404


def test_a_body_that_is_compressed(rest: Ask) -> None:
    headers = {"Content-Encoding": "gzip"}
    packed = gzip.compress(b'{"instances": [4]}')
    answer = rest("/v1/models/m:predict", packed, headers=headers)
    assert json.loads(answer.body) == {"predictions": [8.0]}
    assert rest("/v1/models/m:predict", b"no gzip", headers=headers).status == 400


def test_a_long_body_and_a_long_answer(rest: Ask) -> None:
    numbers = [number / 8 for number in range(10_000)]
    body = json.dumps({"instances": numbers})
    assert len(body) > 1 << 16
    answer = rest("/v1/models/m:predict", body)
    assert json.loads(answer.body) == {"predictions": [2 * number for number in numbers]}
    bad = body.replace("[", "[null, ")
    assert error_of(rest("/v1/models/m:predict", bad))[0] == 400


def test_a_body_that_is_too_large_also_when_packed(rest: Ask) -> None:
    body = b'{"instances": [' + b" " * 200_000 + b"4]}"
    assert rest("/v1/models/m:predict", body).status == 413
    packed = gzip.compress(body)
    assert len(packed) < 1_000
    answer = rest("/v1/models/m:predict", packed, headers={"Content-Encoding": "gzip"})
    assert answer.status in (400, 413)


def test_a_body_that_is_nested_without_end(rest: Ask) -> None:
    body = '{"instances": ' + "[" * 40_000 + "]" * 40_000 + "}"
    answer = rest("/v1/models/m:predict", body)
    assert error_of(answer) == (400, "JSON Parse error: values are nested too deeply")


def test_cors(rest: Ask, launch: Launch) -> None:
    assert rest("/v1/models/m", method="OPTIONS").status == 400
    asked = {"Origin": "https://shop.example"}
    answer = rest("/v1/models/m", method="OPTIONS", headers=asked)
    assert (answer.status, answer.body) == (200, "")
    assert "Access-Control-Allow-Origin" not in answer.headers
    open_server = launch(rest_api_port=-1, rest_api_enable_cors_support=True).server
    assert open_server is not None
    for method in ("GET", "OPTIONS"):
        answer = ask(open_server.rest_url, "/v1/models/m", method=method, headers=asked)
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Methods"] == "POST, GET"


def test_a_request_that_takes_too_long(launch: Launch, tmp_path: Path) -> None:
    server = launch(rest_api_port=-1, rest_api_timeout_in_ms=50, shutdown_grace_seconds=0.1).server
    assert server is not None
    body = json.dumps(
        {"signature_name": "wait", "inputs": {"x": [1.0], "file": str(tmp_path / "never")}}
    )
    answer = ask(server.rest_url, "/v1/models/m:predict", body)
    (tmp_path / "never").touch()
    assert error_of(answer) == (504, "Deadline Exceeded")


def test_no_more_requests_than_are_allowed(launch: Launch, tmp_path: Path) -> None:
    server = launch(rest_api_port=-1, max_concurrent_requests=1).server
    assert server is not None
    gate = tmp_path / "gate"
    body = json.dumps({"signature_name": "wait", "inputs": {"x": [1.0], "file": str(gate)}})
    found: list[Answer] = []
    url = server.rest_url
    waiting = threading.Thread(target=lambda: found.append(ask(url, "/v1/models/m:predict", body)))
    waiting.start()
    try:
        answers = (ask(url, "/v1/models/m") for _ in range(1_000))
        refused = next(answer for answer in answers if answer.status != 200)
        assert error_of(refused) == (429, "Too many requests wait")
    finally:
        gate.touch()
        waiting.join(PATIENCE)
    assert json.loads(found[0].body) == {"outputs": [2.0]}


def test_without_a_port_there_is_no_rest(launch: Launch) -> None:
    server = launch().server
    assert server is not None and server.rest_port == 0


def test_a_port_that_is_taken(launch: Launch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServingError) as error:
        launch(rest_api_port=taken.getsockname()[1])
    assert error.value.where == "--rest_api_port"


@pytest.mark.parametrize(
    "flags",
    [
        {"rest_api_port": 8500},
        {"monitoring_config_file": "monitoring.config"},
        {"rest_api_port": 8501, "rest_api_num_threads": 0},
    ],
)
def test_flags_that_make_no_sense(flags: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        ServerOptions(model_base_path="/models/m", **flags)
