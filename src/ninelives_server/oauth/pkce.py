"""Proof Key for Code Exchange (RFC 7636), S256 only: the plain method protects nothing."""

import secrets
from dataclasses import dataclass, field

from authlib.oauth2.rfc7636 import create_s256_code_challenge


@dataclass(frozen=True, slots=True)
class Proof:
    """A verifier, which stays here until the exchange, and its challenge, which travels in the URL."""

    verifier: str = field(repr=False)
    challenge: str


def new_proof() -> Proof:
    """Make a verifier of 64 random bytes (86 characters; RFC 7636 asks for 43 to 128)."""
    verifier = secrets.token_urlsafe(64)
    return Proof(verifier, str(create_s256_code_challenge(verifier)))
