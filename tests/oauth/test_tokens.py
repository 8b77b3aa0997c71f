"""Token answers: read strictly, merged without losing anything, kept whole."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninelives_server.oauth import tokens
from ninelives_server.oauth.tokens import TokenSet

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
SETS = st.builds(
    TokenSet,
    access_token=TEXT,
    refresh_token=st.none() | TEXT,
    expires_at=st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
    scopes=st.lists(TEXT, max_size=4).map(tuple),
    extra=st.dictionaries(TEXT, st.text(max_size=20), max_size=3),
)


@given(SETS)
def test_what_is_dumped_loads_as_it_was(found: TokenSet):
    """What goes into the safe comes out."""
    assert tokens.load(tokens.dump(found)) == found


@given(SETS, SETS)
def test_merging_never_loses_a_refresh_token(old: TokenSet, new: TokenSet):
    """An answer without one keeps the old; an answer with one replaces it."""
    merged = old.merged(new)

    assert merged.access_token == new.access_token
    assert merged.refresh_token == (new.refresh_token or old.refresh_token)
    assert set(merged.extra) == set(old.extra) | {k for k, v in new.extra.items() if v}


def test_nothing_is_loaded_from_an_empty_safe():
    """A connection that was never authorised has no tokens."""
    assert tokens.load({}) is None
    assert tokens.load({"client_secret": b"s"}) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3600, 3600),
        ("3600", 3600),
        (0, None),
        (-1, None),
        (True, None),
        ("soon", None),
        (None, None),
        (1e9, None),
    ],
    ids=repr,
)
def test_a_lifetime_is_a_positive_number_of_seconds(value: object, seconds: int | None):
    """Some send text; what is no lifetime is ignored, which only makes us refresh earlier."""
    found = tokens.parse({"access_token": "a", "expires_in": value})

    assert found is not None
    assert found.lifetime == (None if seconds is None else timedelta(seconds=seconds))


def test_the_expiry_counts_from_when_the_answer_is_saved():
    """The lifetime begins with the answer; only then is there a clock."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    found = tokens.parse({"access_token": "a", "expires_in": 60})
    assert found is not None

    stamped = found.stamped(now)

    assert stamped.expires_at == now + timedelta(seconds=60)
    assert stamped.stamped(now + timedelta(days=1)) == stamped


def test_only_named_texts_are_kept():
    """An id token or a signature has no business in our database."""
    answer = {"access_token": "a", "instance_url": "https://x.example", "id_token": "e.y.j", "issued_at": 7}

    found = tokens.parse(answer, keep=("instance_url", "issued_at"))

    assert found is not None
    assert found.extra == {"instance_url": "https://x.example"}


def test_scopes_are_sorted_and_unique():
    """Providers answer in any order."""
    found = tokens.parse({"access_token": "a", "scope": "refresh_token api api  openid"})

    assert found is not None
    assert found.scopes == ("api", "openid", "refresh_token")
