"""A local server that speaks TF-Serving's gRPC and REST, for when no TF-Serving is at hand.

One event loop holds it all: the main thread's in ``serve``, a thread's in ``ModelServer``.
Sessions run in a few threads, so a request that waits costs none.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import grpc
from tensorflow_serving.config import model_server_config_pb2

from idp_tf.errors import ServingError
from serving.model_config import PLATFORM, read_models_config
from serving.server.batching import RequestBatcher
from serving.server.health import HealthService
from serving.server.http_server import HttpServer
from serving.server.inference import ServerCore
from serving.server.loaded_model import load_custom_ops
from serving.server.manager import ModelManager
from serving.server.metrics import Metrics
from serving.server.options import DEFAULT_PORT, ServerOptions
from serving.server.request_checks import RequestError
from serving.server.services import service_handlers
from serving.server.tls import server_credentials

_LOG = logging.getLogger(__name__)


class Ports(NamedTuple):
    """Where a server answers; 0 for what it does not speak on a port."""

    grpc: int
    rest: int


class ModelServer:
    """Loads models and answers until it is stopped, beside the program that makes it.

    Args:
        model_config_file: A ``models.config`` in TF-Serving's text format; "" for none.
        port: The gRPC port; 0 lets the system choose, ``self.port`` tells which.
        **flags: Any other of ``ServerOptions``.

    Raises:
        SettingsError: for impossible flags.

    Example:
        >>> with ModelServer("W/export/models.config", port=0) as server:  # doctest: +SKIP
        ...     print(server.address)
    """

    def __init__(self, model_config_file: str | Path = "", port: int = DEFAULT_PORT, **flags: Any):
        self.options = ServerOptions(model_config_file=str(model_config_file), port=port, **flags)
        self.port = port
        self.rest_port = self.options.rest_api_port
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], None] = lambda: None

    @property
    def address(self) -> str:
        """``HOST:PORT`` of gRPC, once it has started."""
        return f"{self.options.host}:{self.port}"

    @property
    def rest_url(self) -> str:
        """``http://HOST:PORT`` of the REST API, once it has started."""
        return f"http://{self.options.host}:{self.rest_port}"

    def start(self) -> None:
        """Returns when all models answer.

        Raises:
            ServingError: for a config that cannot be served, models that cannot be loaded, or a
                port that is taken.
        """
        ready: Future[Ports] = Future()
        loop, stopped = asyncio.new_event_loop(), asyncio.Event()
        self._stop = lambda: _call_in(loop, stopped.set)
        self._thread = threading.Thread(
            target=self._run, args=(loop, stopped, ready), name="server"
        )
        self._thread.start()
        try:
            self.port, self.rest_port = ready.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Lets running requests end, for a few seconds at most, then frees all."""
        self._stop()
        if self._thread is not None:
            self._thread.join()

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

    def _run(
        self, loop: asyncio.AbstractEventLoop, stopped: asyncio.Event, ready: Future[Ports]
    ) -> None:
        failure: BaseException = ServingError("stopped before its models were loaded")
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(run_server(self.options, stopped, ready.set_result))
        except BaseException as error:
            failure = error
            if ready.done():
                _LOG.exception("the server has failed")
        if not ready.done():
            ready.set_exception(failure)


def serve(model_config_file: str | Path = "", port: int = DEFAULT_PORT, **flags: Any) -> None:
    """Serves until SIGTERM or SIGINT; to be called from the main thread.

    Args:
        model_config_file: A ``models.config`` in TF-Serving's text format; "" for none.
        port: The gRPC port; 0 lets the system choose.
        **flags: Any other of ``ServerOptions``.

    Raises:
        SettingsError: for impossible flags.
        ServingError: for a config that cannot be served, models that cannot be loaded, or a
            port that is taken.
    """
    options = ServerOptions(model_config_file=str(model_config_file), port=port, **flags)
    # The v1 loader is meant: TensorFlow's advice to load otherwise is of no use to a user.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)

    def announce(ports: Ports) -> None:
        what = options.model_config_file or options.model_name
        print(f"serving {what} on {options.host}:{ports.grpc}", flush=True)
        if ports.rest:
            path = "/ui/" if options.ui else "/v1/models/NAME"
            print(f"REST on http://{options.host}:{ports.rest}{path}", flush=True)

    async def main() -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await run_server(options, stopped, announce)

    asyncio.run(main())


async def run_server(
    options: ServerOptions, stopped: asyncio.Event, ready: Callable[[Ports], None]
) -> None:
    """Binds, loads, answers until ``stopped`` is set, and drains.

    Args:
        options: The flags.
        stopped: Ends the server, while it loads, too.
        ready: Called with the ports when all models answer.

    Raises:
        ServingError: for a config that cannot be served, models that cannot be loaded, or a
            port that is taken.
    """
    async with AsyncExitStack() as stack:
        core, health = _build_core(options, stack), HealthService()
        server = _grpc_server(core, health, options)
        # The port comes first: loading can take long, and would be in vain.
        port = _bind(server, options)
        http = HttpServer(core, options)
        stack.push_async_callback(_drain, server, http, options.shutdown_grace_seconds)
        stack.callback(health.drain)
        load_custom_ops()
        if await _unless(stopped, _load(core.manager, options)):
            await server.start()
            await http.start()
            _LOG.info("answering on %s:%d", options.host, port)
            ready(Ports(port, http.port))
            config_poll = asyncio.create_task(_poll_config(core.manager, options))
            stack.callback(config_poll.cancel)
            await stopped.wait()
            _LOG.info("draining")


def _build_core(options: ServerOptions, stack: AsyncExitStack) -> ServerCore:
    """What answers; the stack ends it, what it hangs on last."""
    executor = ThreadPoolExecutor(options.grpc_max_threads, thread_name_prefix="session")
    stack.callback(executor.shutdown, wait=False, cancel_futures=True)
    metrics = Metrics()
    manager = ModelManager(options, metrics)
    stack.push_async_callback(manager.close)
    batcher = None
    if options.batching is not None:
        batcher = RequestBatcher(options.batching, metrics)
        stack.push_async_callback(batcher.close)
    return ServerCore(
        manager, executor, batcher, options.enable_signature_method_name_check, metrics
    )


def _grpc_server(core: ServerCore, health: HealthService, options: ServerOptions) -> Any:
    """The gRPC server with its services; it listens nowhere yet."""
    server = grpc.aio.server(
        options=options.channel_options(),
        maximum_concurrent_rpcs=options.max_concurrent_requests,
    )
    server.add_generic_rpc_handlers(service_handlers(core))
    if options.enable_grpc_healthcheck_service:
        server.add_generic_rpc_handlers([health.handler()])
    return server


async def _drain(server: Any, http: HttpServer, seconds: float) -> None:
    """Both protocols at once, so that together they take no longer than one may."""
    await asyncio.gather(server.stop(seconds), http.stop())


async def _unless(stopped: asyncio.Event, work: Any) -> bool:
    """Whether the work was done before the server was stopped."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(stopped.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await tasks[0]
        return True
    return False


async def _load(manager: ModelManager, options: ServerOptions) -> None:
    try:
        await manager.reload(_read_config(options), is_own=True)
    except RequestError as error:
        raise ServingError(
            error.message,
            where=options.model_config_file or "--model_base_path",
            remedy="mend the config, or the model that it names",
        ) from error


async def _poll_config(manager: ModelManager, options: ServerOptions) -> None:
    """Reads the config file again and again; a bad one changes nothing (``server.cc``)."""
    seconds = options.model_config_file_poll_wait_seconds
    while seconds > 0 and options.model_config_file:
        await asyncio.sleep(seconds)
        try:
            await manager.reload(_read_config(options), is_own=True)
        except (RequestError, ServingError) as error:
            _LOG.error("the config file is not taken: %s", error)


def _read_config(options: ServerOptions) -> Any:
    if options.model_config_file:
        return read_models_config(options.model_config_file)
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(
        name=options.model_name, base_path=options.model_base_path, model_platform=PLATFORM
    )
    return config


def _bind(server: Any, options: ServerOptions) -> int:
    """Listens on the port and the socket; returns the port, 0 if there is only a socket."""
    credentials = server_credentials(options.ssl_config_file) if options.ssl_config_file else None
    port = 0
    if options.port or not options.grpc_socket_path:
        port = _listen(server, f"{options.host}:{options.port}", credentials)
    if options.grpc_socket_path:
        _listen(server, f"unix:{options.grpc_socket_path}", credentials)
    return port


def _listen(server: Any, address: str, credentials: Any) -> int:
    try:
        if credentials is None:
            bound: int = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise _port_error(address, credentials is not None) from error
    if bound == 0:
        raise _port_error(address, credentials is not None)
    return bound


def _port_error(address: str, secure: bool) -> ServingError:
    keys = ", or the key and the certificate do not fit" if secure else ""
    return ServingError(
        f"cannot listen on {address}, the port is in use or not allowed, or it is no address of "
        f"this machine{keys}",
        where="--port",
        remedy="stop what listens there, or choose another port",
    )


def _call_in(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    # A loop that has ended is closed, and takes no calls.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function)
