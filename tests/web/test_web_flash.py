"""The message for the next page."""

import pytest
from starlette.requests import Request
from starlette.responses import Response

from ninelives_server.web import flash


def sent_with(cookie: str) -> Request:
    return Request({"type": "http", "headers": [(b"cookie", f"{flash.COOKIE}={cookie}".encode())]})


def test_a_message_survives_one_redirect():
    """
    Any text does, also one that a cookie could not hold as it is.
    """
    answer = Response()
    flash.put(answer, "bad", 'no "such"; thing\nänd more', path="/nl", secure=True)
    header = answer.headers["set-cookie"]

    found = flash.read(sent_with(header.partition("=")[2].partition(";")[0]))

    assert found == flash.Flash("bad", 'no "such"; thing\nänd more')
    assert all(part in header for part in ("HttpOnly", "Path=/nl", "SameSite=lax", "Secure"))


@pytest.mark.parametrize("cookie", ["", "garbage!", "e30", "W10", "WyJnb29kIl0"])
def test_what_is_no_message_is_none(cookie: str):
    """
    Cookies come from browsers; nothing in them may break a page.
    """
    assert flash.read(sent_with(cookie)) is None


def test_an_unknown_tone_is_a_warning():
    """
    The tone becomes a class of the page, so it is one of ours.
    """
    answer = Response()
    flash.put(answer, "x y", "text", path="/", secure=False)  # type: ignore[arg-type]

    found = flash.read(sent_with(answer.headers["set-cookie"].partition("=")[2].partition(";")[0]))

    assert found is not None
    assert found.tone == "warn"
