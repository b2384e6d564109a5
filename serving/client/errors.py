"""The client's one error, and what it says of gRPC's."""

from __future__ import annotations

from typing import Any, Final

_NO_CONNECTION: Final = ("failed to connect", "DNS resolution failed")
"""How gRPC begins when it never reached a server."""

_HUNG_UP: Final = ("socket closed", "connection reset", "handshake")
"""What it says of one that is there and takes no connection like this."""


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
    if code == "UNAVAILABLE":
        message, remedy = _unavailable(message)
    elif code == "DEADLINE_EXCEEDED":
        message = f"no answer within {timeout:g} seconds"
        remedy = "look whether a gRPC server listens there, or give it a longer timeout"
    return ServingClientError(message, address=address, code=code, remedy=remedy)


def _unavailable(details: str) -> tuple[str, str]:
    """Message and remedy: gRPC has one code for a server that is not there, and one that is."""
    if not details.startswith(_NO_CONNECTION):
        return details, "the server is overloaded, or stops: try again later"
    if any(words in details.lower() for words in _HUNG_UP):
        return (
            f"a server hangs up ({details})",
            "look whether it takes TLS, and mutual TLS, and at the certificates on both sides",
        )
    return (
        f"no server answers here ({details})",
        "start one (idp-tf serve --model_config_file …), or mend the address",
    )
