"""TLS and mutual TLS, and what is said when the two sides don't trust each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority
from fake_server import HEALTH, KINDS, ask, fake_server

from serving.client import Retries, ServingClient, ServingClientError, Tls

METHODS = {HEALTH: lambda request, context: b"\x08\x01"}
ONCE = {"retries": Retries(attempts=1), "timeout": 10}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


def credentials(authority: Authority, *, mutual: bool = False, host: str = "127.0.0.1") -> Any:
    certificate, key = (file.read_bytes() for file in authority.sign("server", host))
    return grpc.ssl_server_credentials(
        [(key, certificate)],
        root_certificates=authority.file.read_bytes() if mutual else None,
        require_client_auth=mutual,
    )


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[str]:
    with fake_server(METHODS, credentials=credentials(authority)) as address:
        yield address


@pytest.fixture(scope="module")
def mutual(authority: Authority) -> Iterator[str]:
    with fake_server(METHODS, credentials=credentials(authority, mutual=True)) as address:
        yield address


@pytest.mark.parametrize("kind", KINDS)
def test_a_trusted_server(secure: str, authority: Authority, kind: str) -> None:
    assert ask(kind, secure, "health", tls=Tls(ca=authority.file)) == "SERVING"


@pytest.mark.parametrize("kind", KINDS)
def test_a_trusted_client(mutual: str, authority: Authority, kind: str) -> None:
    certificate, key = authority.sign("client")
    tls = Tls(ca=str(authority.file), certificate=certificate, key=str(key))
    assert ask(kind, mutual, "health", tls=tls) == "SERVING"


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_shows_nothing(mutual: str, authority: Authority, kind: str) -> None:
    with pytest.raises(ServingClientError) as caught:
        ask(kind, mutual, "health", tls=Tls(ca=authority.file), **ONCE)
    assert caught.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_others_vouch_for(secure: str, tmp_path: Path, kind: str) -> None:
    other = Authority(tmp_path, "other")
    with pytest.raises(ServingClientError) as caught:
        ask(kind, secure, "health", tls=Tls(ca=other.file), **ONCE)
    assert caught.value.code == "UNAVAILABLE"
    assert caught.value.message.startswith("a server hangs up (")
    assert "certificates on both sides" in caught.value.remedy


def test_a_server_of_another_name(authority: Authority) -> None:
    with fake_server(METHODS, credentials=credentials(authority, host="models.test")) as address:
        with pytest.raises(ServingClientError):
            ask("blocking", address, "health", tls=Tls(ca=authority.file), **ONCE)
        named = Tls(ca=authority.file, server_name="models.test")
        assert ask("blocking", address, "health", tls=named) == "SERVING"


def test_plain_text_to_a_secure_server(secure: str) -> None:
    with pytest.raises(ServingClientError) as caught:
        ask("blocking", secure, "health", **ONCE)
    assert caught.value.code == "UNAVAILABLE"
    assert "TLS" in caught.value.remedy


def test_tls_to_a_server_without(authority: Authority) -> None:
    with fake_server(METHODS) as address, pytest.raises(ServingClientError) as caught:
        ask("blocking", address, "health", tls=Tls(ca=authority.file), **ONCE)
    assert caught.value.code == "UNAVAILABLE"
    assert "TLS" in caught.value.remedy


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    with pytest.raises(ServingClientError, match=r"none\.pem cannot be read: No such file"):
        ServingClient("127.0.0.1:1", tls=Tls(ca=tmp_path / "none.pem"))
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(ServingClientError, match=r"text\.pem is no PEM file"):
        ServingClient("127.0.0.1:1", tls=Tls(ca=tmp_path / "text.pem"))


@pytest.mark.parametrize("half", [{"certificate": "c.pem"}, {"key": "c.key"}])
def test_half_of_a_pair(half: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="go together"):
        Tls(**half)
