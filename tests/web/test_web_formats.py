"""How values look on a page."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from ninelives_server.model.connections import ConnectionState
from ninelives_server.model.sessions import SessionState
from ninelives_server.web import formats


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (None, ""),
        (timedelta(0), "0 s"),
        (timedelta(microseconds=300), "0.3 ms"),
        (timedelta(milliseconds=840), "840 ms"),
        (timedelta(seconds=12.44), "12.4 s"),
        (timedelta(seconds=60), "1 min"),
        (timedelta(minutes=3, seconds=5), "3 min 5 s"),
        (timedelta(days=2, hours=4, minutes=5), "2 d 4 h"),
        (timedelta(seconds=-3), "0 s"),
    ],
)
def test_durations_have_at_most_two_units(span: timedelta | None, text: str):
    """
    A duration is read at a glance, from a fraction of a millisecond to months.
    """
    assert formats.duration(span) == text


def test_times_read_in_utc_and_say_so():
    """
    Whatever zone a time comes in, the page without JavaScript shows UTC and the API's form for scripts.
    """
    at = datetime(2026, 11, 23, 13, 0, 5, 120_000, tzinfo=timezone(timedelta(hours=1)))

    assert formats.when(at) == '<time datetime="2026-11-23T12:00:05.120Z">2026-11-23 12:00:05 UTC</time>'
    assert (
        formats.when(at, clock=True) == '<time datetime="2026-11-23T12:00:05.120Z" data-clock>12:00:05</time>'
    )
    assert "not yet" in formats.when(None, "not yet")


def test_what_people_named_is_escaped():
    """
    Labels and values of a description list come from manifests and providers.
    """
    shown = formats.facts({"<b>": "<script>", "empty": "", "none": None})

    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "empty" not in shown
    assert "<code>&lt;b&gt;</code>" in formats.codes("use `<b>`")
    assert formats.breakable("a<b>.c") == "a&lt;b&gt;.<wbr>c"


def test_a_huge_value_is_cut_and_says_how_much_is_missing():
    """
    One value must not make a page of megabytes.
    """
    text = formats.pretty("x" * 50_000)

    assert len(text) < 21_000
    assert "characters more" in text


@pytest.mark.parametrize("state", [*ConnectionState, *SessionState])
def test_every_state_is_a_word_and_not_only_a_colour(state: ConnectionState | SessionState):
    """
    WCAG 1.4.1: colour is not the only means.
    """
    shown = formats.pill(state)

    assert formats.state_word(state) in shown
    assert any(f'class="pill {tone}"' in shown for tone in ("good", "busy", "calm", "warn", "bad"))


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (2048, "2.0 KB"), (5 * 2**40, "5120.0 GB")]
)
def test_sizes_are_for_people(count: int, text: str):
    """
    A build's size is shown in the largest unit that fits.
    """
    assert formats.size(count) == text


def test_short_ids_differ_where_ids_do():
    """
    Ids of the same moment share their beginning, so the end is what is shown.
    """
    assert formats.short_id("ses_01k9zq3v5w8xj2m4n6p7r8s9t0") == "p7r8s9t0"
    assert formats.short_id(None) == ""
    assert formats.iso(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00.000Z"
