"""Bearer secrets: how they are made, kept and compared. Only their SHA-256 is ever stored."""

import hashlib
import hmac
import secrets


def new_secret() -> str:
    """Make a secret of 256 random bits that fits into a URL."""
    return secrets.token_urlsafe(32)


def hash_secret(text: str) -> bytes:
    """Return what is stored of a secret: with 256 random bits a plain SHA-256 cannot be guessed."""
    return hashlib.sha256(text.encode()).digest()


def matches(text: str, stored: bytes | None) -> bool:
    """Compare a presented secret with a stored hash, in constant time."""
    return stored is not None and hmac.compare_digest(hash_secret(text), stored)
