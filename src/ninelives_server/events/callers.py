"""Who may call a webhook: a signature, a token, or user and password, as its trigger's `auth` says.

The secret is the value of a project's variable. Comparisons take the same time whatever is wrong, and a
refusal does not say more than that the credential is missing, wrong or old.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime

from ninelives_server.errors import Unauthenticated

#: How old a signed time may be, as Slack advises
#: (https://docs.slack.dev/authentication/verifying-requests-from-slack). seconds
_SLACK_AGE = 300
_GITHUB = ("x-hub-signature-256", "sha256=")


def check(
    auth: Mapping[str, str], secret: str, *, headers: Mapping[str, str], body: bytes, now: datetime
) -> None:
    """Let a request pass, or refuse it.

    Args:
        auth: As in the manifest.
        secret: The value of the variable that it names.
        headers: Of the request, with names in lower case.
        body: Exactly as it came.
        now: The time, for signatures that hold one.

    Raises:
        Unauthenticated: The request may not come in.
    """
    match auth["scheme"]:
        case "hmac":
            _hmac(auth, secret, headers, body)
        case "slack":
            _slack(secret, headers, body, now)
        case "token":
            _token(auth, secret, headers)
        case "basic":
            _basic(auth, secret, headers)
        case other:
            raise _refused(f"this server has no auth scheme {other!r}")


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(why, code="webhook_refused")


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name.lower())
    if value is None:
        raise _refused(f"the header {name} is missing")
    return value


def _after(prefix: str, value: str, name: str) -> str:
    if not value.startswith(prefix):
        raise _refused(f"the header {name} does not begin with {prefix.strip()!r}")
    return value[len(prefix) :].strip()


def _hmac(auth: Mapping[str, str], secret: str, headers: Mapping[str, str], body: bytes) -> None:
    name = auth.get("header", _GITHUB[0])
    prefix = auth.get("prefix", _GITHUB[1] if name.lower() == _GITHUB[0] else "")
    given = _after(prefix, _header(headers, name), name)
    mac = hmac.new(secret.encode(), body, auth.get("algorithm", "sha256")).digest()
    try:
        is_base64 = auth.get("encoding") == "base64"
        sent = base64.b64decode(given, validate=True) if is_base64 else bytes.fromhex(given)
    except (ValueError, binascii.Error):
        sent = b""
    if not hmac.compare_digest(sent, mac):
        raise _refused("the signature is not right")


def _slack(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    stamp = _header(headers, "X-Slack-Request-Timestamp")
    given = _header(headers, "X-Slack-Signature")
    mac = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(given.encode(), f"v0={mac}".encode()):
        raise _refused("the signature is not right")
    # Only now: the time is as good as its signature.
    if not stamp.isdigit() or abs(now.timestamp() - int(stamp)) > _SLACK_AGE:
        raise _refused("the signature is more than five minutes old")


def _token(auth: Mapping[str, str], secret: str, headers: Mapping[str, str]) -> None:
    name = auth.get("header", "Authorization")
    prefix = auth.get("prefix", "Bearer " if name.lower() == "authorization" else "")
    given = _after(prefix, _header(headers, name), name)
    if not hmac.compare_digest(given.encode(), secret.encode()):
        raise _refused("the token is not right")


def _basic(auth: Mapping[str, str], secret: str, headers: Mapping[str, str]) -> None:
    kind, _, given = _header(headers, "Authorization").partition(" ")
    wanted = f"{auth.get('user', '')}:{secret}".encode()
    try:
        sent = base64.b64decode(given.strip(), validate=True) if kind.lower() == "basic" else b""
    except (ValueError, binascii.Error):
        sent = b""
    if not hmac.compare_digest(sent, wanted):
        raise _refused("user or password are not right")
