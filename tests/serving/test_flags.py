"""The command line of ``idp-tf serve``, and what options may not be."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tf_serving_facts import FLAGS

from idp_tf.errors import SettingsError
from serving.server.flags import REFUSED, parse_flags
from serving.server.options import ServerOptions


def test_flags_as_tf_serving_takes_them() -> None:
    flags = parse_flags(
        [
            "--port=9000",
            "--model_config_file=/m/models.config",
            "--enable_grpc_healthcheck_service",
            "--enable_model_warmup=false",
            "--file_system_poll_wait_seconds=2",
            "--load_retry_interval_micros=-1",
            "--host",
            "0.0.0.0",
        ]
    )
    assert flags == {
        "port": 9000,
        "model_config_file": "/m/models.config",
        "enable_grpc_healthcheck_service": True,
        "enable_model_warmup": False,
        "file_system_poll_wait_seconds": 2.0,
        "load_retry_interval_micros": -1,
        "host": "0.0.0.0",
    }
    assert ServerOptions(**flags).port == 9000


def test_what_is_off_is_honoured() -> None:
    """As in deploy/'s command for TF-Serving."""
    assert parse_flags(["--port=1", "--enable_profiler=false"]) == {"port": 1}


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_flags(["--version"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert said == f"idp-tf {version('idp-tf')}, TensorFlow {version('tensorflow')}\n"


def test_every_flag_of_tf_serving_is_known() -> None:
    known = {*ServerOptions.__dataclass_fields__, *REFUSED, "version"}
    assert known >= FLAGS


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_honoured_is_refused(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_flags(["--port=1", f"--{name}=1"])
    assert f"TF-Serving's --{name} is not supported: {REFUSED[name]}" in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--prot=1", "unrecognized arguments: --prot=1"),
        ("--por=1", "unrecognized arguments: --por=1"),
        ("--port=x", "argument --port: invalid int value: 'x'"),
        ("--enable_model_warmup=maybe", "'maybe' is neither true nor false"),
        ("stray", "unrecognized arguments: stray"),
    ],
)
def test_mistakes(argument: str, message: str) -> None:
    with pytest.raises(SettingsError, match="idp-tf serve: ") as caught:
        parse_flags([argument])
    assert message in str(caught.value)


def test_defaults_are_tf_servings() -> None:
    """``model_servers/server.h``; the port may be 0 here, for one that is free."""
    options = ServerOptions(model_base_path="/m")
    assert options.port == 8500
    assert options.model_name == "default"
    assert options.max_num_load_retries == 5
    assert options.load_retry_interval_micros == 60_000_000
    assert options.file_system_poll_wait_seconds == 1
    assert options.model_config_file_poll_wait_seconds == 0
    assert (options.num_load_threads, options.num_unload_threads) == (0, 0)
    assert options.enable_model_warmup
    assert not options.enable_grpc_healthcheck_service
    assert not options.allow_version_labels_for_unavailable_models
    assert options.saved_model_tags == "serve"
    assert options.grpc_max_threads == 4 * (os.cpu_count() or 1)
    assert options.warmup_iterations == 1
    assert options.session_threads == (0, 0)


def test_session_threads() -> None:
    def threads(**flags: int) -> tuple[int, int]:
        return ServerOptions(model_base_path="/m", **flags).session_threads

    assert threads(tensorflow_session_parallelism=3) == (3, 3)
    assert threads(tensorflow_intra_op_parallelism=2) == (2, 0)
    assert threads(tensorflow_inter_op_parallelism=4, tensorflow_session_parallelism=9) == (0, 4)


def test_channel_arguments() -> None:
    text = "grpc.max_connection_age_ms=2000,grpc.primary_user_agent=x,grpc.min_x=-1"
    options = dict(
        ServerOptions(model_base_path="/m", grpc_channel_arguments=text).channel_options()
    )
    assert options == {
        "grpc.so_reuseport": 0,
        "grpc.max_receive_message_length": 64 * 1024 * 1024,
        "grpc.max_send_message_length": -1,
        "grpc.max_connection_age_ms": 2000,
        "grpc.primary_user_agent": "x",
        "grpc.min_x": -1,
    }


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"model_base_path": ""}, "model_config_file are empty!"),
        ({"grpc_channel_arguments": "a=1,b"}, "grpc_channel_arguments holds 'b'"),
        ({"allowed_base_path": "x"}, "allowed_base_path is 'x'"),
        ({"grpc_max_threads": 0}, "grpc_max_threads is 0"),
        # gRPC would listen on 4464.
        ({"port": 70_000}, "port is 70000"),
        ({"port": -1}, "port is -1"),
        ({"rest_api_port": 65_536}, "rest_api_port is 65536"),
        ({"rest_api_port": -2}, "rest_api_port is -2"),
        (
            {"grpc_channel_arguments": "grpc.max_receive_message_length=1MB"},
            "max_receive_message_length=1MB",
        ),
        ({"max_num_load_retries": -1}, "max_num_load_retries is -1"),
        (
            {
                "tensorflow_session_parallelism": 1,
                "tensorflow_intra_op_parallelism": 1,
                "tensorflow_inter_op_parallelism": 1,
            },
            "You cannot configure all",
        ),
    ],
)
def test_options_that_are_refused(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ServerOptions(**{"model_base_path": "/m", **flags})


def test_help_needs_no_tensorflow() -> None:
    code = (
        "import sys; sys.argv = ['idp-tf', 'serve', '--help']\n"
        "try:\n    import idp_tf.cli; idp_tf.cli.app()\n"
        "finally:\n    print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False"
    for name in ServerOptions.__dataclass_fields__:
        assert f"--{name} " in done.stdout
    assert "platform_config_file" not in done.stdout
