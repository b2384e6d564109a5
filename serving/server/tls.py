"""TLS and mutual TLS from an ``ssl_config_file``, as TF-Serving reads it (``server.cc``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
from google.protobuf import text_format

from idp_tf.errors import ServingError
from serving.server.private_protos import SSLConfig


def server_credentials(file: str | Path) -> Any:
    """The credentials of an ``SSLConfig`` in text format; keys and certificates stand in it.

    Args:
        file: It holds server_key, server_cert and, if clients must have a certificate,
            client_verify and custom_ca, each as PEM text.

    Raises:
        ServingError: if the file cannot be read, or lacks what TLS needs.
    """
    file = Path(file)
    try:
        config = text_format.Parse(file.read_text(encoding="utf-8"), SSLConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ServingError(
            f"not an SSLConfig in text format: {error}",
            where=file,
            remedy='write server_key: "...", server_cert: "...", PEM text with \\n for line ends',
        ) from error
    for name in ("server_key", "server_cert"):
        if "-----BEGIN " not in getattr(config, name):
            raise ServingError(
                f"{name} is no PEM text",
                where=file,
                remedy="TF-Serving takes the text itself there, not the name of a file",
            )
    if config.client_verify and not config.custom_ca:
        raise ServingError(
            "client_verify without custom_ca",
            where=file,
            remedy="name the authority that signs the clients' certificates",
        )
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
