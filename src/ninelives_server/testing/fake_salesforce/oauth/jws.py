"""RS256 signatures of JSON Web Tokens (RFC 7515): the org signs id tokens, apps sign assertions."""

import base64
import binascii
import json
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_KEY_ID = "226"


def encode(raw: bytes) -> str:
    """Return URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read URL-safe base64 without padding.

    Raises:
        ValueError: It is none.
    """
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("not base64") from error


def sign(claims: dict[str, Any], key: rsa.RSAPrivateKey) -> str:
    """Return a signed token with these claims."""
    header = {"kid": _KEY_ID, "typ": "JWT", "alg": "RS256"}
    signed = ".".join(encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{signed}.{encode(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def claims(token: str) -> dict[str, Any]:
    """Return the claims of a token without looking at its signature.

    Raises:
        ValueError: It is no token.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("not a token")
    found: dict[str, Any] = json.loads(decode(parts[1]))
    return found


def is_signed_by(token: str, certificate_pem: str) -> bool:
    """Say whether the key of this certificate signed the token."""
    key = x509.load_pem_x509_certificate(certificate_pem.encode()).public_key()
    signed, _, signature = token.rpartition(".")
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        key.verify(decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def key_set(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    """Return the public key as a JSON Web Key Set (RFC 7517)."""
    numbers = key.public_key().public_numbers()
    modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    exponent = numbers.e.to_bytes(3, "big")
    entry = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": _KEY_ID}
    return {"keys": [{**entry, "n": encode(modulus), "e": encode(exponent)}]}
