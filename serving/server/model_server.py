"""A local server that speaks TF-Serving's gRPC, for when no TF-Serving is at hand.

It answers Predict, GetModelMetadata and GetModelStatus, in TF-Serving's codes and words.
"""

from __future__ import annotations

import logging
import signal
import threading
from concurrent import futures
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import grpc

from idp_tf.errors import ServingError
from serving.model_config import read_models_config
from serving.server.loaded_model import load_custom_ops
from serving.server.model_store import ModelStore
from serving.server.services import service_handlers

_LOG = logging.getLogger(__name__)

DEFAULT_PORT: Final = 8500
"""TF-Serving's gRPC port."""

_WORKERS: Final = 8
_GRACE_SECONDS: Final = 5.0
_OPTIONS: Final = (
    # Otherwise a second server on the same port would take half of the requests, silently.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class ModelServer:
    """Loads the models of a config file and answers until it is stopped.

    Args:
        model_config_file: A ``models.config`` in TF-Serving's text format.
        port: The port; 0 lets the system choose, ``self.port`` tells which.
        host: The interface; ``0.0.0.0`` is all of them.
        threads: Threads of each model's session; 0 lets TensorFlow choose.

    Raises:
        ServingError: for a config file that cannot be used, or a port that is taken.

    Example:
        >>> with ModelServer("W/export/models.config", port=0) as server:  # doctest: +SKIP
        ...     print(server.address)
    """

    def __init__(
        self,
        model_config_file: str | Path,
        port: int = DEFAULT_PORT,
        host: str = "127.0.0.1",
        *,
        threads: int = 0,
    ):
        configs = read_models_config(model_config_file)
        self._server = grpc.server(
            futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="grpc"), options=_OPTIONS
        )
        # The port comes first: loading can take long, and would be in vain.
        self.port = _bind(self._server, host, port)
        self.address = f"{host}:{self.port}"
        load_custom_ops()
        self.store = ModelStore(configs, threads)
        self._server.add_generic_rpc_handlers(service_handlers(self.store))

    def start(self) -> None:
        """Loads the models, then begins to answer."""
        self.store.load()
        self._server.start()
        _LOG.info("answering on %s", self.address)

    def stop(self) -> None:
        """Lets running requests end, for a few seconds at most, then frees all."""
        self._server.stop(_GRACE_SECONDS).wait()
        self.store.close()

    def __enter__(self) -> ModelServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def serve(model_config_file: str | Path, port: int = DEFAULT_PORT, host: str = "127.0.0.1") -> None:
    """Serves until SIGTERM or SIGINT; to be called from the main thread.

    Args:
        model_config_file: A ``models.config`` in TF-Serving's text format.
        port: The gRPC port; 0 lets the system choose.
        host: The interface to listen on.

    Raises:
        ServingError: for a config file that cannot be used, or a port that is taken.
    """
    # The v1 loader is meant: TensorFlow's advice to load otherwise is of no use to a user.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    stopped = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: stopped.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        with ModelServer(model_config_file, port, host) as server:
            print(f"serving {model_config_file} on {server.address}", flush=True)
            stopped.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _bind(server: Any, host: str, port: int) -> int:
    try:
        bound: int = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise _port_error(host, port) from error
    if bound == 0:
        raise _port_error(host, port)
    return bound


def _port_error(host: str, port: int) -> ServingError:
    return ServingError(
        f"cannot listen on {host}:{port}, the port is in use or not allowed",
        where="--port",
        remedy="stop what listens there, or choose another port",
    )
