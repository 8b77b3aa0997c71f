"""The media type of a body that comes without one, told by its beginning.

AutoKitteh answers with what Go's HTTP server makes of the first bytes, and handlers rely on it: one that
returns a page names no type. The signatures are those of the MIME Sniffing Standard
(https://mimesniff.spec.whatwg.org, 7.1) that project code may want to send.
"""

import re

_TEXT = "text/plain; charset=utf-8"

#: Only so much of a body is looked at. bytes
_LOOKED_AT = 512

_TAGS = (
    *(b"!doctype html", b"html", b"head", b"script", b"iframe", b"h1", b"div", b"font", b"table", b"a"),
    *(b"style", b"title", b"b", b"body", b"br", b"p"),
)
_WHITE = rb"[\t\n\x0c\r ]*"
_HTML = re.compile(_WHITE + rb"<(?:(?:" + b"|".join(_TAGS) + rb")[ >]|!--)", re.IGNORECASE)

_SIGNATURES = tuple(
    (re.compile(pattern, re.DOTALL), found)
    for pattern, found in (
        (_WHITE + rb"<\?xml", "text/xml; charset=utf-8"),
        (rb"%PDF-", "application/pdf"),
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF....WEBPVP", "image/webp"),
        (rb"\x1f\x8b\x08", "application/x-gzip"),
        (rb"PK\x03\x04", "application/zip"),
    )
)

#: Bytes that no text has.
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


def media_type(body: bytes) -> str:
    """Return the type to send a body with."""
    head = body[:_LOOKED_AT]
    if _HTML.match(head):
        return "text/html; charset=utf-8"
    for pattern, found in _SIGNATURES:
        if pattern.match(head):
            return found
    return "application/octet-stream" if _BINARY.search(head) else _TEXT
