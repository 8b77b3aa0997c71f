"""Bodies of answers that name no media type."""

import pytest

from ninelives_server.events.sniffing import media_type

TEXT, HTML = "text/plain; charset=utf-8", "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", TEXT),
        (b"hello", TEXT),
        ("Zoë ✓".encode(), TEXT),
        (b"\x1b[1mbold", TEXT),
        (b"<!DOCTYPE html>\n<html>", HTML),
        (b"\n\t <HTML lang='en'>", HTML),
        (b"<!-- made by a script --><p>", HTML),
        (b"<p>Thanks", HTML),
        (b"<title>", HTML),
        (b"<pre>", TEXT),
        (b"<br/>", TEXT),
        (b"a <b>bold</b> word", TEXT),
        (b"<html", TEXT),
        (b" <?xml version='1.0'?><feed/>", "text/xml; charset=utf-8"),
        (b"%PDF-1.7", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n\0", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\n\0\0\0WEBPVP8 ", "image/webp"),
        (b"\x1f\x8b\x08\0", "application/x-gzip"),
        (b"PK\x03\x04", "application/zip"),
        (b"\0\x01", "application/octet-stream"),
        (b"x" * 512 + b"\0", TEXT),
    ],
)
def test_a_body_is_known_by_its_beginning(body: bytes, expected: str):
    """
    As by the server that AutoKitteh's handlers were written for.
    """
    assert media_type(body) == expected
