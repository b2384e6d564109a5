"""The HTTP server around the REST API, and the file that puts metrics on it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from aiohttp import web
from google.protobuf import text_format

from idp_tf.errors import ServingError
from serving.server.inference import ServerCore
from serving.server.options import ServerOptions
from serving.server.page import Page
from serving.server.private_protos import MonitoringConfig
from serving.server.rest import RestApi

METRICS_PATH: Final = "/monitoring/prometheus/metrics"
"""Where TF-Serving puts its metrics, unless the monitoring config says otherwise."""


class HttpServer:
    """Answers HTTP on the REST port; where that is 0, it does nothing.

    Args:
        core: What answers.
        options: Port, timeout, bounds.

    Raises:
        ServingError: if the port is taken, or the monitoring config cannot be read.
    """

    def __init__(self, core: ServerCore, options: ServerOptions):
        file = options.monitoring_config_file
        api = RestApi(core, options, read_metrics_path(file) if file else None)
        app = web.Application(client_max_size=max(0, options.max_request_bytes))
        if options.ui:
            app.add_routes(Page(core).routes())
        app.router.add_route("*", "/{path:.*}", api.handle)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            # A request whose client has gone is of no use to anybody.
            handler_cancellation=True,
            shutdown_timeout=options.shutdown_grace_seconds,
        )
        self._socket = _listen(options) if options.rest_api_port else None

    @property
    def port(self) -> int:
        """The port, on which connections wait until it is started; 0 for none."""
        return 0 if self._socket is None else int(self._socket.getsockname()[1])

    async def start(self) -> None:
        """Begins to answer."""
        if self._socket is not None:
            await self._runner.setup()
            await web.SockSite(self._runner, self._socket).start()

    async def stop(self) -> None:
        """Takes no more requests; those that run may go on for the grace period."""
        await self._runner.cleanup()
        if self._socket is not None:
            self._socket.close()


def read_metrics_path(file: str | Path) -> str | None:
    """Where a ``MonitoringConfig`` in text format puts the metrics; None for nowhere.

    Raises:
        ServingError: if the file cannot be read, or is none.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
        config = text_format.Parse(text, MonitoringConfig()).prometheus_config
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ServingError(
            f"not a MonitoringConfig in text format: {error}",
            where=file,
            remedy="write prometheus_config { enable: true }",
        ) from error
    return (config.path or METRICS_PATH) if config.enable else None


def _listen(options: ServerOptions) -> socket.socket:
    host = options.host.strip("[]")
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, max(0, options.rest_api_port)))
        # Two sockets may be bound to a port until one of them listens.
        bound.listen()
    except OSError as error:
        bound.close()
        raise ServingError(
            f"cannot listen on {options.host}:{options.rest_api_port}: {error.strerror}",
            where="--rest_api_port",
            remedy="stop what listens there, choose another port, or 0 for no REST API",
        ) from error
    return bound
