"""
What schedules mean. That Temporal means the same is in `tests/engine/test_engine_schedules.py`.
"""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninelives_server.model import schedules
from ninelives_server.model.schedules import BadSchedule

AT = datetime(2026, 11, 28, 3, 50, 7, tzinfo=UTC)


def times(text: str, count: int = 3, zone: str = "UTC", at: datetime = AT) -> list[str]:
    """The next times, as local readings in UTC."""
    return [f"{t:%Y-%m-%d %H:%M:%S}" for t in schedules.upcoming(schedules.parse(text, zone), at, count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 3 * * *", ["2026-11-29 03:00:00", "2026-11-30 03:00:00"]),
        ("*/20 * * * *", ["2026-11-28 04:00:00", "2026-11-28 04:20:00"]),
        ("5/20 * * * *", ["2026-11-28 04:05:00", "2026-11-28 04:25:00"]),
        ("0 9 * * MON-fri", ["2026-11-30 09:00:00", "2026-12-01 09:00:00"]),
        ("0 9 * * 7", ["2026-11-29 09:00:00", "2026-12-06 09:00:00"]),
        ("0 0 29 feb *", ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ("@hourly", ["2026-11-28 04:00:00", "2026-11-28 05:00:00"]),
        ("@weekly", ["2026-11-29 00:00:00", "2026-12-06 00:00:00"]),
        ("@every 1h30m", ["2026-11-28 04:30:00", "2026-11-28 06:00:00"]),
        ("@every 1h/5m", ["2026-11-28 04:05:00", "2026-11-28 05:05:00"]),
        ("0 3 * * * # nightly", ["2026-11-29 03:00:00", "2026-11-30 03:00:00"]),
    ],
)
def test_a_schedule_gives_its_next_times(text: str, expected: list[str]):
    """
    Cron of five fields, names, steps, nicknames, distances, comments.
    """
    assert times(text, 2) == expected


def test_six_fields_end_with_the_year_and_seven_begin_with_seconds():
    """
    Temporal's meaning, which is not that of cron with seconds first.
    """
    assert times("0 3 1 1 * 2027") == ["2027-01-01 03:00:00"]
    assert times("10,40 0 3 1 1 * 2027") == ["2027-01-01 03:00:10", "2027-01-01 03:00:40"]


def test_day_of_month_and_day_of_week_must_both_match():
    """
    Temporal's meaning; classic cron takes either.
    """
    assert times("0 3 13 * 5", 1) == ["2027-08-13 03:00:00"]


def test_a_time_zone_moves_with_its_clocks():
    """
    Three in the morning in Berlin is another time of UTC in summer.
    """
    assert times("0 3 1 1,7 *", 2, "Europe/Berlin") == ["2027-01-01 02:00:00", "2027-07-01 01:00:00"]
    assert times("CRON_TZ=Europe/Berlin 0 3 * * *", 1) == ["2026-11-29 02:00:00"]


def test_a_local_time_that_does_not_exist_is_left_out():
    """
    On 28 March 2027 the clocks of Berlin go from two to three.
    """
    at = datetime(2027, 3, 27, 0, tzinfo=UTC)

    assert times("30 2 * * *", 2, "Europe/Berlin", at) == ["2027-03-27 01:30:00", "2027-03-29 00:30:00"]


def test_a_schedule_that_is_over_has_no_next_time():
    """
    The year is past, or there is no such day.
    """
    assert schedules.next_after(schedules.parse("0 3 * * * 2020"), AT) is None
    assert schedules.next_after(schedules.parse("0 3 30 2 *"), AT) is None


def test_what_was_missed_is_in_order_and_bounded():
    """
    The newest times count, and none that was done already.
    """
    hourly = schedules.parse("@hourly")

    assert schedules.between(hourly, AT - timedelta(hours=3), AT, most=10) == [
        datetime(2026, 11, 28, hour, tzinfo=UTC) for hour in (1, 2, 3)
    ]
    assert schedules.between(hourly, AT - timedelta(days=900), AT, most=2) == [
        datetime(2026, 11, 28, hour, tzinfo=UTC) for hour in (2, 3)
    ]
    assert schedules.between(hourly, AT, AT + timedelta(minutes=9), most=2) == []


def test_nothing_is_missed_in_an_hour_that_the_clocks_repeat():
    """
    Temporal takes some of these times twice and others not at all, so none is made up for.
    """
    nightly = schedules.parse("30 2 * * *", "Europe/Berlin")
    day = datetime(2027, 10, 31, tzinfo=UTC)

    assert schedules.between(nightly, day - timedelta(hours=1), day + timedelta(hours=3), most=9) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the schedule is empty"),
        ("every day", "has 2 fields"),
        ("@sometimes", "is not known; there is @annually"),
        ("@every", "write the distance as in '@every 1h30m'"),
        ("@every 90", "write the distance"),
        ("@every 0.5s", "a distance from 1s to 366d"),
        ("@every 1500ms", "whole seconds"),
        ("@every 1h/2h", "a phase that is not below its distance"),
        ("60 * * * *", "the minute '60' of the schedule is not from 0 to 59"),
        ("0 3 * * fry", "the weekday 'fry' of the schedule is no number from 0 to 7"),
        ("30-10 * * * *", "the minute '10' of the schedule is not from 30 to 59"),
        ("? 3 * * *", "the minute '?'"),
        ("CRON_TZ=Nowhere 0 3 * * *", "there is no time zone 'Nowhere'"),
    ],
)
def test_a_schedule_without_meaning_says_why(text: str, message: str):
    """
    Temporal refuses the same ones, in words that help less.
    """
    with pytest.raises(BadSchedule) as caught:
        schedules.parse(text)

    assert message in str(caught.value)


@given(
    st.sampled_from(["*/7 1-5 * * *", "@every 25m", "3 2 1 * *", "0 0 * * 1", "15 10 3 * * * *"]),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)),
)
def test_forwards_and_backwards_meet(text: str, zone: str, naive: datetime):
    """
    What comes after a moment is what stands before a later one.
    """
    schedule = schedules.parse(text, zone)
    found = list(islice(schedule.after(naive.replace(tzinfo=UTC)), 5))

    assert list(islice(schedule.before(found[-1]), 5)) == found[::-1]
