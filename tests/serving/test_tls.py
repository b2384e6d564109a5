"""TLS and mutual TLS from an ``ssl_config_file`` (``model_servers/server.cc``)."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import text_format
from small_models import Caller, failure

from idp_tf.errors import ServingError
from serving.server.private_protos import SSLConfig
from serving.server.tls import server_credentials

Launch = Callable[..., Caller]

NOW = datetime.datetime.now(datetime.UTC)
NAME = "127.0.0.1"


@dataclass(frozen=True)
class Pair:
    """A key and its certificate; PEM text on demand."""

    secret: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def key(self) -> str:
        return self.secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    @property
    def cert(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


def issue(name: str, authority: Pair | None = None) -> Pair:
    """A certificate of an authority, or of one that signs itself and may sign others."""
    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer = authority.certificate.subject if authority else subject
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(NAME))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(alternative, critical=False)
        .sign(authority.secret if authority else secret, hashes.SHA256())
    )
    return Pair(secret, certificate)


@pytest.fixture(scope="module")
def authority() -> Pair:
    return issue("authority")


@pytest.fixture(scope="module")
def pair(authority: Pair) -> Pair:
    return issue("server", authority)


def write_config(folder: Path, **fields: object) -> Path:
    file = folder / "ssl.config"
    file.write_text(text_format.MessageToString(SSLConfig(**fields)))
    return file


def ask(caller: Caller, credentials: grpc.ChannelCredentials) -> int:
    with grpc.secure_channel(caller.server.address, credentials) as channel:
        return Caller(channel, caller.server).answering()


def test_tls(launch: Launch, authority: Pair, pair: Pair, tmp_path: Path) -> None:
    file = write_config(tmp_path, server_key=pair.key, server_cert=pair.cert)
    caller = launch(ssl_config_file=str(file))
    assert ask(caller, grpc.ssl_channel_credentials(authority.cert.encode())) == 1
    assert failure(caller.answering)[0] == "UNAVAILABLE"
    stranger = grpc.ssl_channel_credentials(issue("stranger").cert.encode())
    assert failure(lambda: ask(caller, stranger))[0] == "UNAVAILABLE"


def test_mutual_tls(launch: Launch, authority: Pair, pair: Pair, tmp_path: Path) -> None:
    file = write_config(
        tmp_path,
        server_key=pair.key,
        server_cert=pair.cert,
        custom_ca=authority.cert,
        client_verify=True,
    )
    caller = launch(ssl_config_file=str(file))
    root = authority.cert.encode()
    client, stranger = issue("client", authority), issue("client", issue("other authority"))
    good = grpc.ssl_channel_credentials(root, client.key.encode(), client.cert.encode())
    assert ask(caller, good) == 1
    without = grpc.ssl_channel_credentials(root)
    bad = grpc.ssl_channel_credentials(root, stranger.key.encode(), stranger.cert.encode())
    for credentials in (without, bad):
        code, _ = failure(lambda credentials=credentials: ask(caller, credentials))
        assert code == "UNAVAILABLE"


class TestConfigsThatAreRefused:
    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ServingError, match="not an SSLConfig in text format"):
            server_credentials(tmp_path / "none")

    def test_no_proto(self, tmp_path: Path) -> None:
        file = tmp_path / "ssl.config"
        file.write_text("server_certificate: 'x'")
        with pytest.raises(ServingError, match="not an SSLConfig in text format"):
            server_credentials(file)

    def test_a_file_name_where_the_text_belongs(self, pair: Pair, tmp_path: Path) -> None:
        file = write_config(tmp_path, server_key="/keys/server.key", server_cert=pair.cert)
        with pytest.raises(ServingError, match="server_key is no PEM text"):
            server_credentials(file)

    def test_nobody_who_signs_clients(self, pair: Pair, tmp_path: Path) -> None:
        file = write_config(
            tmp_path, server_key=pair.key, server_cert=pair.cert, client_verify=True
        )
        with pytest.raises(ServingError, match="client_verify without custom_ca"):
            server_credentials(file)

    def test_a_key_that_does_not_fit(self, launch: Launch, pair: Pair, tmp_path: Path) -> None:
        other = issue("other")
        file = write_config(tmp_path, server_key=other.key, server_cert=pair.cert)
        with pytest.raises(ServingError, match="the key and the certificate do not fit"):
            launch(ssl_config_file=str(file))
