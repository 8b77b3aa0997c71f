"""Who can act on a refusal: told apart strictly, because each mistake costs somebody a day."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninelives_server.oauth import outcomes
from ninelives_server.oauth.messages import Answer
from ninelives_server.oauth.outcomes import Kind


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, "invalid_grant", Kind.NEEDS_REAUTH),
        (401, "invalid_client", Kind.REFUSED),
        (400, "unauthorized_client", Kind.NEEDS_ADMIN),
        (400, "invalid_scope", Kind.NEEDS_ADMIN),
        (400, "temporarily_unavailable", Kind.TRANSIENT),
        (400, "something_else", Kind.REFUSED),
        (500, "invalid_grant", Kind.TRANSIENT),
        (503, "invalid_client", Kind.TRANSIENT),
        (429, "invalid_grant", Kind.TRANSIENT),
        (400, "", Kind.TRANSIENT),
    ],
)
def test_names_and_statuses_lead_to_one_kind(status: int, error: str, kind: Kind):
    """`invalid_grant` that arrives with a 5xx is not terminal."""
    assert outcomes.kind_of(status, error) is kind


def test_a_page_instead_of_an_answer_is_transient():
    """Maintenance pages come with any status, 404 and 403 among them."""
    for status in (200, 302, 403, 404, 420, 502, 503):
        found = outcomes.from_answer(Answer(status=status, body=b"<html>Down for Maintenance</html>"))
        assert found.kind is Kind.TRANSIENT
        assert str(status) in found.description


def test_no_answer_says_whether_the_request_may_have_arrived():
    """What was never sent may be sent again at once; what may have arrived may have rotated a token."""
    lost = outcomes.from_answer(Answer(status=0, failure="timed out"))
    unsent = outcomes.from_answer(Answer(status=0, failure="refused", may_have_arrived=False))

    assert not lost.answered
    assert unsent.answered
    assert lost.words == "timed out"


@given(st.binary(max_size=400), st.integers(100, 599))
def test_any_answer_is_read_without_failing(body: bytes, status: int):
    """Whatever a provider or a proxy sends, there is a kind and printable words of bounded length."""
    found = outcomes.from_answer(Answer(status=status, body=body))

    assert found.kind in Kind
    assert len(found.words) <= 400
    assert found.words.isprintable()


@given(st.text(max_size=1000))
def test_cleaned_text_is_one_bounded_printable_line(text: str):
    """It goes to pages, logs and terminals: no control characters, no line breaks."""
    found = outcomes.clean(text)

    assert found.isprintable()
    assert len(found) <= 300


def test_what_is_no_text_is_empty():
    """JSON may hold anything."""
    for value in (None, 7, [], {"a": 1}):
        assert outcomes.clean(value) == ""
