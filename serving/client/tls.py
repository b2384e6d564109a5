"""A secure channel's certificates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc


@dataclass(frozen=True)
class Tls:
    """Whom the client trusts, and how it shows who it is; every file is PEM.

    Args:
        ca: Root certificates that the server's must hang on; None takes gRPC's own list.
        certificate: The client's certificate, for a server that asks for one (mutual TLS).
        key: Its private key.
        server_name: The name in the server's certificate, if it is not the address's host.

    Raises:
        ValueError: for a certificate without its key, or the other way round.
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None
    server_name: str = ""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client's certificate and its key go together")

    def credentials(self) -> Any:
        """What gRPC takes for a channel.

        Raises:
            ValueError: if a file cannot be read, or is not PEM.
        """
        return grpc.ssl_channel_credentials(_pem(self.ca), _pem(self.key), _pem(self.certificate))


def _pem(file: str | Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    # gRPC would only say, at the first request, that the handshake failed.
    if b"-----BEGIN " not in content:
        raise ValueError(f"{file} is no PEM file")
    return content
