"""The client's one error, and what it says of gRPC's."""

from __future__ import annotations

from typing import Any, Final

_NO_CONNECTION: Final = (
    "failed to connect",
    "DNS resolution failed",
    "connections to all backends",
)
"""How gRPC begins when it never reached a server."""


class ServingClientError(Exception):
    """A request that could not be sent, or that the server answered by an error.

    Args:
        message: What is wrong; of a server's error, its own words.
        address: The server's address.
        code: The gRPC code's name, such as ``NOT_FOUND``; "" if nothing was sent.
        remedy: What the user can do.
    """

    def __init__(self, message: str, *, address: str, code: str = "", remedy: str = ""):
        self.message = message
        self.address = address
        self.code = code
        self.remedy = remedy
        answer = f"{code}: {message}" if code else message
        super().__init__(f"{address}: {answer}" + (f"\n  -> {remedy}" if remedy else ""))


def error_of(error: Any, address: str, timeout: float) -> ServingClientError:
    """What to tell of a ``grpc.RpcError``.

    Args:
        error: gRPC's.
        address: The server's.
        timeout: Seconds that the whole request had.
    """
    code, message, remedy = error.code().name, str(error.details()), ""
    if code == "UNAVAILABLE" and "handshake" in message.lower():
        message = f"no secure connection ({message})"
        remedy = "look whether the server takes TLS, and at the certificates on both sides"
    elif code == "UNAVAILABLE" and message.startswith(_NO_CONNECTION):
        message = f"no server answers here ({message})"
        remedy = "start one (idp-tf serve --model_config_file …), or mend the address"
    elif code == "UNAVAILABLE":
        remedy = "the server is overloaded, stopping, or takes TLS alone: try again later"
    elif code == "DEADLINE_EXCEEDED":
        message = f"no answer within {timeout:g} seconds"
        remedy = "look whether a gRPC server listens there, or give it a longer timeout"
    return ServingClientError(message, address=address, code=code, remedy=remedy)
