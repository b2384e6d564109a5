"""What both clients have in common: their settings, and what they make of an outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Literal, ParamSpec, TypeVar

import grpc
from google.protobuf.message import DecodeError

from serving.client.calls import Call
from serving.client.errors import ServingClientError, error_of
from serving.client.retries import Attempts, Retries
from serving.client.tls import Tls

T = TypeVar("T")
P = ParamSpec("P")

DEFAULT_TIMEOUT: Final = 10.0
"""Seconds that a request may take, connecting and retries included."""

DEFAULT_KEEPALIVE: Final = 300.0
"""Seconds between pings: a gRPC server with default settings hangs up on who pings more often."""

DEFAULT_BATCH_SIZE: Final = 32
"""Rows: as many as the exports' batching parameters let a request have."""

_PING_TIMEOUT: Final = 20.0
_FIRST_RECONNECT_MS: Final = 100
_LAST_RECONNECT_MS: Final = 2000
_COMPRESSIONS: Final = {
    None: grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}


class ClientBase:
    """The settings of a client.

    One connection is opened, at the first request, and serves all of them; it is opened
    again when it is lost.

    Args:
        address: ``HOST:PORT`` of the gRPC port.
        timeout: Seconds that each request may take, all its attempts together.
        retries: How often a request is tried again, and when; see ``serving.client.retries``.
        tls: Certificates; None speaks plain text.
        compression: Of what is sent: ``gzip`` or ``deflate``; None for none.
        keepalive: Seconds after which a connection is probed while a request waits on it.
        batch_size: Most rows of one request; a call with more is split.
        max_in_flight: Most requests of such a call that run at once.

    Raises:
        ServingClientError: if the address has another form, or a setting cannot be.
    """

    def __init__(
        self,
        address: str,
        timeout: float = DEFAULT_TIMEOUT,
        *,
        retries: Retries | None = None,
        tls: Tls | None = None,
        compression: Literal["gzip", "deflate"] | None = None,
        keepalive: float = DEFAULT_KEEPALIVE,
        batch_size: int = DEFAULT_BATCH_SIZE,
        max_in_flight: int = 4,
    ):
        self.address = address
        self.timeout = timeout
        self.batch_size = batch_size
        self.max_in_flight = max_in_flight
        self._retries = retries or Retries()
        self._check(compression, keepalive)
        self._keepalive = keepalive
        self._compression = _COMPRESSIONS[compression]
        self._server_name = tls.server_name if tls else ""
        with self._told_as_ours():
            self._credentials = tls.credentials() if tls else None
        self._closed = False

    def _check(self, compression: object, keepalive: float) -> None:
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise self._error("not an address", "write HOST:PORT, such as localhost:8500")
        for name, number in (
            ("timeout", self.timeout),
            ("keepalive", keepalive),
            ("batch_size", self.batch_size),
            ("max_in_flight", self.max_in_flight),
        ):
            if not number > 0:
                raise self._error(f"{name} is {number}", f"give {name} a number above 0")
        if compression not in _COMPRESSIONS:
            raise self._error(f"compression is {compression!r}", "take 'gzip', 'deflate' or None")

    def _open(self, grpc_module: Any) -> Any:
        """A channel of ``grpc``, or of ``grpc.aio``."""
        options: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", int(self._keepalive * 1000)),
            ("grpc.keepalive_timeout_ms", int(_PING_TIMEOUT * 1000)),
            # gRPC waits a second at first, and two minutes at last: no retry would meet a server
            # that is back.
            ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", _LAST_RECONNECT_MS),
        ]
        if self._server_name:
            options.append(("grpc.ssl_target_name_override", self._server_name))
        settings = {"options": options, "compression": self._compression}
        if self._credentials is None:
            return grpc_module.insecure_channel(self.address, **settings)
        return grpc_module.secure_channel(self.address, self._credentials, **settings)

    def _build(self, build: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A request, or the client's error in place of a ValueError."""
        if self._closed:
            raise self._error("this client is closed", "open another one")
        with self._told_as_ours():
            return build(*args, **kwargs)

    def _attempts(self, call: Call[T]) -> Attempts:
        return Attempts(self._retries, self.timeout, repeatable=call.repeatable)

    def _sender(self, channel: Any, call: Call[T]) -> Callable[..., Any]:
        """What sends the request, as bytes, over a channel of either kind."""
        # Bytes, as the two kinds make different things of what they cannot write or read.
        with self._told_as_ours():
            return partial(channel.unary_unary(call.method), call.request.SerializeToString())

    def _delay(self, attempts: Attempts, error: Any) -> float:
        """Seconds to wait before the next attempt; raises if there is to be none."""
        delay = attempts.delay_after(error)
        if delay is None:
            raise error_of(error, self.address, self.timeout) from error
        return delay

    def _read(self, call: Call[T], response: bytes) -> T:
        with self._told_as_ours():
            try:
                message = call.response_type.FromString(response)
            except DecodeError as error:
                name = call.response_type.DESCRIPTOR.name
                raise ValueError(f"the answer is no {name}: is it a TF-Serving?") from error
            return call.read(message)

    def _error(self, message: str, remedy: str = "") -> ServingClientError:
        return ServingClientError(message, address=self.address, remedy=remedy)

    @contextmanager
    def _told_as_ours(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise self._error(str(error)) from error
