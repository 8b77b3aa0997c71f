"""What is let through from project code's socket; the rest of the relay is tested with real sessions."""

import json

import pytest

from ninelives_server.worker import session_socket


@pytest.mark.parametrize(
    "preview", ["[" * 5000, '"]}' * 500, "\\" * 999, [[]] * 500, {"a": [{"b": list(range(9))}] * 90}]
)
def test_a_harmless_preview_passes_whatever_is_in_it(preview: object) -> None:
    """Brackets inside of strings, and many shallow ones, are no nesting."""
    header = json.dumps({"t": "record", "i": 1, "preview": preview}).encode()

    assert session_socket._header(header) == json.loads(header)


def test_a_header_that_is_too_deep_does_not_pass() -> None:
    """The server's parser must not meet a depth that it refuses."""
    assert session_socket._header(b'{"t":"record","i":1,"preview":' + b"[" * 101 + b"]" * 101 + b"}") is None


def test_a_header_that_is_too_long_does_not_pass() -> None:
    """Values belong into the body."""
    assert (
        session_socket._header(json.dumps({"t": "record", "i": 1, "preview": "x" * 600_000}).encode()) is None
    )


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"{", "its header is no JSON"),
        (b"\xff", "its header is no JSON"),
        (b"[" * 100_000, "its header is no JSON"),
        (b"[1]", "its header is no JSON object"),
        (b'{"t":"hello"}', "it says hello a second time"),
        (b'{"t":"claim","token":"Secret"}', "its header is not one that a session's process sends"),
        (b'{"t":"record","i":' + b"1" * 600_000 + b"}", "its header has 600019 bytes"),
    ],
)
def test_what_is_wrong_with_a_header_is_said_and_nothing_that_it_holds(header, said):
    """People see it as the reason why a session has ended."""
    assert session_socket._fault(header) == said
