"""Bearer secrets: how they are made, and the only form in which they are stored.

They are 256 random bits, so a plain SHA-256 is enough: there is nothing to guess (OWASP Cryptographic Storage
Cheat Sheet keeps slow hashes for passwords).
"""

import hashlib
import secrets

#: What API and worker tokens begin with, so that people and scanners recognise them.
TOKEN_PREFIX = "nl_"  # noqa: S105 - a prefix, no secret


def new_secret() -> str:
    """Make a secret for a link or a cookie."""
    return secrets.token_urlsafe(32)


def new_token() -> str:
    """Make an API or worker token: `nl_…`."""
    return TOKEN_PREFIX + new_secret()


def hash_secret(text: str) -> bytes:
    """Return what is stored instead of the secret."""
    return hashlib.sha256(text.encode()).digest()
