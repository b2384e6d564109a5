"""Certificates made for a test: an authority, and a pair that hangs on it."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs; its own certificate is ``<folder>/<name>.pem``."""

    def __init__(self, folder: Path, name: str):
        self.file = folder / f"{name}.pem"
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(name)
        builder = _builder(self._name, self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.file.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))

    def sign(self, name: str, host: str = "127.0.0.1") -> tuple[Path, Path]:
        """Files of a certificate for a host, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = (
            x509.IPAddress(ipaddress.ip_address(host))
            if host[0].isdecimal()
            else x509.DNSName(host)
        )
        builder = _builder(_subject(name), self._name, key).add_extension(
            x509.SubjectAlternativeName([alternative]), critical=False
        )
        files = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        files[0].write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


def _subject(name: str) -> Any:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: Any, issuer: Any, key: Any) -> Any:
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
    )


def _pem(certificate: Any) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
