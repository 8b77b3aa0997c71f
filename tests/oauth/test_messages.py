"""Answers as values: nothing that a provider sends makes reading them fail."""

from hypothesis import given
from hypothesis import strategies as st

from ninelives_server.oauth.messages import Answer


@given(st.binary(max_size=200))
def test_any_body_can_be_read(body: bytes):
    """No JSON is `None`, no object is empty, no text is replaced."""
    answer = Answer(status=200, body=body)

    assert isinstance(answer.text, str)
    assert isinstance(answer.document(), dict)


def test_deeply_nested_json_is_no_json():
    """A body that is made to exhaust the parser is treated as one that cannot be read."""
    assert Answer(status=200, body=b"[" * 100_000).json() is None


def test_only_2xx_is_ok():
    """A redirect is not followed, so it is no success."""
    assert Answer(status=204).ok
    assert not any(Answer(status=status).ok for status in (0, 199, 302, 400, 500))
