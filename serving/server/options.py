"""What a server can be told: TF-Serving's flags, under their own names and defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from idp_tf.errors import SettingsError
from serving.server.batching_parameters import BatchingParameters, read_batching_parameters

DEFAULT_PORT: Final = 8500
"""TF-Serving's gRPC port."""

DEFAULT_REST_PORT: Final = 8501
"""The REST port of TF-Serving's own container image."""

MAX_MESSAGE_BYTES: Final = 64 << 20
"""Longest request, unless a channel argument says otherwise; TF-Serving takes 2 GiB."""

_PER_CORE: Final = 4
_MAX_RECEIVED: Final = "grpc.max_receive_message_length"


def _flag(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class ServerOptions:
    """Flags of a server; those marked as ours are not TF-Serving's.

    Sources: TF-Serving's ``model_servers/main.cc`` and ``server.h``. Times in seconds may be
    fractions here.

    Raises:
        SettingsError: for flags that contradict each other or have impossible values.

    Example:
        >>> ServerOptions(model_config_file="/models/models.config").port
        8500
    """

    host: str = _flag(
        "127.0.0.1", "Ours: the interface to listen on; TF-Serving takes all (0.0.0.0)."
    )
    port: int = _flag(
        DEFAULT_PORT,
        "gRPC port. 0 takes a free one, or none where grpc_socket_path is given.",
    )
    grpc_socket_path: str = _flag("", "Also listen on this UNIX socket.")
    rest_api_port: int = _flag(
        0,
        "REST port; 0 is no REST API. Ours: -1 takes a free one; idp-tf serve takes 8501 unless "
        "told otherwise.",
    )
    rest_api_num_threads: int = _flag(
        _PER_CORE * (os.cpu_count() or 1), "REST requests that are worked on at once; others wait."
    )
    rest_api_timeout_in_ms: int = _flag(
        30_000, "Milliseconds that a REST request may run; 0 is no bound."
    )
    rest_api_enable_cors_support: bool = _flag(
        False, "Let pages of any other site call the REST API."
    )
    monitoring_config_file: str = _flag(
        "", "Text file of a MonitoringConfig: metrics for Prometheus on the REST port."
    )
    ui: bool = _flag(
        False, "Ours: a page at /ui/ of the REST port, to ask the models by titles or items."
    )
    model_config_file: str = _flag(
        "", "Text file of a ModelServerConfig, for example W/export/models.config."
    )
    model_config_file_poll_wait_seconds: float = _flag(
        0.0, "Seconds between reads of model_config_file; 0 reads it once."
    )
    model_name: str = _flag("default", "Name of the one model, where no config file is given.")
    model_base_path: str = _flag("", "Its folder of versions, an absolute path.")
    allowed_base_path: str = _flag(
        "",
        "Ours: models outside this folder are refused, wherever the config comes from; links are "
        "followed. Unless given, HandleReloadConfigRequest may name folders beside those of the "
        "server's own config only; / allows all.",
    )
    file_system_poll_wait_seconds: float = _flag(
        1.0, "Seconds between looks for new versions; 0 looks once, below 0 never."
    )
    num_load_threads: int = _flag(
        0, "Versions that load at once; 0: one, and nothing is unloaded meanwhile."
    )
    num_unload_threads: int = _flag(
        0, "Versions that unload at once; 0: one, and nothing is loaded meanwhile."
    )
    max_num_load_retries: int = _flag(5, "How often a load that failed is tried again.")
    load_retry_interval_micros: int = _flag(
        60_000_000, "Microseconds between these; below 0 is no wait."
    )
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "Lets a new label name a version that is not available (yet)."
    )
    enable_model_warmup: bool = _flag(
        True, "Replay assets.extra/tf_serving_warmup_requests on loading."
    )
    num_request_iterations_for_warmup: int = _flag(
        0, "How often each of its requests is run; 0 is once."
    )
    saved_model_tags: str = _flag("serve", "Tags of the graph to load, separated by commas.")
    enable_batching: bool = _flag(False, "Run the rows of several requests as one batch.")
    batching_parameters_file: str = _flag(
        "", "Text file of BatchingParameters, for example an export's batching_parameters.txt."
    )
    enable_signature_method_name_check: bool = _flag(
        False, "Classify and Regress signatures of TF-Serving's own method name only."
    )
    tensorflow_session_parallelism: int = _flag(
        0, "Threads of a session, both kinds; 0 lets TensorFlow choose."
    )
    tensorflow_intra_op_parallelism: int = _flag(0, "Threads of one op.")
    tensorflow_inter_op_parallelism: int = _flag(0, "Ops that run at once.")
    ssl_config_file: str = _flag("", "Text file of an SSLConfig: TLS, and mutual TLS.")
    grpc_channel_arguments: str = _flag(
        "", "gRPC's own, as key=value,key=value; grpc.max_receive_message_length is 64 MiB."
    )
    grpc_max_threads: int = _flag(
        _PER_CORE * (os.cpu_count() or 1), "Requests that run at once; others wait."
    )
    max_concurrent_requests: int = _flag(
        1_000, "Ours: calls that run or wait; more get RESOURCE_EXHAUSTED."
    )
    enable_grpc_healthcheck_service: bool = _flag(False, "Answer grpc.health.v1.Health, too.")
    shutdown_grace_seconds: float = _flag(
        20.0, "Ours: how long running requests may go on after SIGTERM."
    )

    def __post_init__(self) -> None:
        if not self.model_config_file and not self.model_base_path:
            raise SettingsError(
                "Both server_options.model_base_path and server_options.model_config_file are "
                "empty!",
                remedy="--model_config_file=FILE, or --model_name=NAME --model_base_path=FOLDER",
            )
        if self.allowed_base_path and not Path(self.allowed_base_path).is_absolute():
            raise SettingsError(
                f"allowed_base_path is {self.allowed_base_path!r}", remedy="write an absolute path"
            )
        if self.batching_parameters_file and not self.enable_batching:
            raise SettingsError(
                "server_options.batching_parameters_file is set without setting "
                "server_options.enable_batching to true.",
                remedy="--enable_batching",
            )
        self._check_parallelism()
        self._check_ports()
        self._check_rest()
        for name in ("grpc_max_threads", "rest_api_num_threads", "max_concurrent_requests"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}", remedy="at least 1")
        for name in ("num_load_threads", "num_unload_threads", "max_num_load_retries"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} is {getattr(self, name)}", remedy="at least 0")
        self.channel_options()

    @property
    def session_threads(self) -> tuple[int, int]:
        """Intra-op and inter-op threads of each session; 0 lets TensorFlow choose."""
        pair = self.tensorflow_intra_op_parallelism, self.tensorflow_inter_op_parallelism
        return pair if max(pair) > 0 else (self.tensorflow_session_parallelism,) * 2

    @property
    def warmup_iterations(self) -> int:
        """How often each warm-up request is run; 0 is never."""
        return max(1, self.num_request_iterations_for_warmup) if self.enable_model_warmup else 0

    @cached_property
    def batching(self) -> BatchingParameters | None:
        """How requests are batched, if they are; a file is read once.

        Raises:
            ServingError: for a file that cannot be used.
        """
        if not self.enable_batching:
            return None
        if self.batching_parameters_file:
            return read_batching_parameters(self.batching_parameters_file)
        return BatchingParameters(thread_pool_name="model_server_batch_threads")

    @property
    def max_request_bytes(self) -> int:
        """Longest request, of gRPC and of REST alike; below 0 is no bound."""
        return int(dict(self.channel_options())[_MAX_RECEIVED])

    def channel_options(self) -> list[tuple[str, int | str]]:
        """Options of gRPC, those of grpc_channel_arguments above ours."""
        options: dict[str, int | str] = {
            # Otherwise a second server on the same port would take half of the requests, silently.
            "grpc.so_reuseport": 0,
            _MAX_RECEIVED: MAX_MESSAGE_BYTES,
            "grpc.max_send_message_length": -1,
        }
        for argument in filter(None, self.grpc_channel_arguments.split(",")):
            key, sign, value = argument.partition("=")
            if not sign:
                raise SettingsError(
                    f"grpc_channel_arguments holds {argument!r}", remedy="key=value,key=value"
                )
            options[key] = int(value) if value.removeprefix("-").isdecimal() else value
        if isinstance(bound := options[_MAX_RECEIVED], str):
            raise SettingsError(
                f"grpc_channel_arguments holds {_MAX_RECEIVED}={bound}", remedy="a number of bytes"
            )
        return list(options.items())

    def _check_ports(self) -> None:
        # gRPC takes what is left of a greater number, and would listen elsewhere.
        for name, least in (("port", 0), ("rest_api_port", -1)):
            if not least <= getattr(self, name) < 1 << 16:
                raise SettingsError(
                    f"{name} is {getattr(self, name)}", remedy=f"a number from {least} to 65535"
                )

    def _check_rest(self) -> None:
        if self.rest_api_port and self.rest_api_port == self.port:
            raise SettingsError(
                "server_options.http_port cannot be same as grpc_port. Please use a different "
                "port for HTTP/REST API.",
                remedy="--rest_api_port=8501, or 0 for none",
            )
        for name in ("monitoring_config_file", "ui"):
            if getattr(self, name) and not self.rest_api_port:
                raise SettingsError(
                    f"{name} without a REST API, on whose port it is",
                    remedy="--rest_api_port=8501",
                )

    def _check_parallelism(self) -> None:
        flags = (
            self.tensorflow_session_parallelism,
            self.tensorflow_intra_op_parallelism,
            self.tensorflow_inter_op_parallelism,
        )
        if min(flags) > 0:
            raise SettingsError(
                "Either configure server_options.tensorflow_session_parallelism or "
                "(server_options.tensorflow_intra_op_parallelism, "
                "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure "
                "all."
            )
