"""A certificate authority of the fake org's own, and the certificate that its ports present.

The authority is kept in the org's directory and used again, so that whoever trusts it once trusts every
later start. Nothing here is fit for a real service.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = (
    "localhost",
    "127.0.0.1",
    "::1",
    "login.salesforce.com",
    "test.salesforce.com",
    "*.my.salesforce.com",
    "*.sandbox.my.salesforce.com",
    "*.develop.my.salesforce.com",
    "api.pubsub.salesforce.com",
)
_LIFE = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Where the files are: authority, certificate chain and key, all PEM."""

    ca_file: Path
    chain_file: Path
    key_file: Path


def provide(directory: Path, *, names: Sequence[str], now: datetime) -> Certificates:
    """Make a certificate for these names beside the usual ones, under the directory's own authority."""
    directory.mkdir(parents=True, exist_ok=True)
    found = Certificates(
        ca_file=directory / "ca.pem",
        chain_file=directory / "server.pem",
        key_file=directory / "server-key.pem",
    )
    ca_key_file = directory / "ca-key.pem"
    if not (found.ca_file.exists() and ca_key_file.exists()):
        _write_authority(found.ca_file, ca_key_file, now)
    _write_leaf(found, ca_key_file, names=[*NAMES, *names], now=now)
    return found


def _write_authority(ca_file: Path, key_file: Path, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fake Salesforce Test Authority")])
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(name, name, key.public_key(), now, life=10 * _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_file, key)
    ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_leaf(found: Certificates, ca_key_file: Path, *, names: Sequence[str], now: datetime) -> None:
    ca_key = serialization.load_pem_private_key(ca_key_file.read_bytes(), password=None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    ca = x509.load_pem_x509_certificate(found.ca_file.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake-salesforce")])
    certificate = (
        _builder(subject, ca.subject, key.public_key(), now, life=_LIFE)
        .add_extension(x509.SubjectAlternativeName([_san(n) for n in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    _write_key(found.key_file, key)
    pem = serialization.Encoding.PEM
    found.chain_file.write_bytes(certificate.public_bytes(pem) + ca.public_bytes(pem))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    *,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + life)
    )


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
