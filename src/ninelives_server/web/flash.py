"""A message for the next page, in a cookie that lives for a minute: what a form post came to.

The text is ours and safe to show; whoever plants such a cookie in a browser can only talk to its owner.
"""

import base64
import binascii
import json
from typing import Literal, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

COOKIE = "ninelives_flash"
#: Longer messages are cut: browsers keep 4096 bytes (RFC 6265, section 6.1). characters
_LIMIT = 900

Tone = Literal["good", "bad", "warn"]


class Flash(NamedTuple):
    """One message."""

    tone: str
    text: str


def put(response: Response, tone: Tone, text: str, *, path: str, secure: bool) -> None:
    """Leave a message for the next page."""
    packed = base64.urlsafe_b64encode(json.dumps([tone, text[:_LIMIT]]).encode()).decode()
    response.set_cookie(COOKIE, packed, max_age=60, path=path, secure=secure, httponly=True, samesite="lax")


def read(request: Request) -> Flash | None:
    """Return the message that was left, if any."""
    try:
        tone, text = json.loads(base64.urlsafe_b64decode(request.cookies.get(COOKIE, "")))
    except (ValueError, binascii.Error):
        return None
    return Flash(str(tone) if tone in {"good", "bad", "warn"} else "warn", str(text))


def clear(response: Response, *, path: str) -> None:
    """Forget the message; it has been shown."""
    response.delete_cookie(COOKIE, path=path)
