"""Steps as bars on one axis."""

from datetime import UTC, datetime, timedelta

from ninelives_server.model.sessions import Step
from ninelives_server.web import timeline

AT = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def a_step(seq: int = 1, *, start: float = 0, took: float | None = 1, **fields: object) -> Step:
    started = AT + timedelta(seconds=start)
    values: dict[str, object] = {
        "seq": seq,
        "strand": "0",
        "n": seq,
        "kind": "step",
        "name": "requests.post",
        "status": "ok",
        "attempt": 1,
        "epoch": 1,
        "started_at": started,
        "ended_at": None if took is None else started + timedelta(seconds=took),
        "preview": {"args": [1], "result": 2},
    }
    return Step(**{**values, **fields})  # type: ignore[arg-type]


def drawn(*steps: Step, seconds: float = 10) -> list[timeline.Row]:
    end = AT + timedelta(seconds=seconds)
    return list(timeline.rows(steps, timeline.axis(AT, end, steps, end)))


def test_a_bar_lies_where_its_time_lies():
    """
    Half of the time is half of the width.
    """
    [row] = drawn(a_step(start=5, took=2.5))

    assert row.bar == timeline.Bar(x=500.0, width=250.0)
    assert row.took == "2.5 s"


def test_the_shortest_step_can_be_seen_and_nothing_leaves_the_picture():
    """
    A step of no time at the very end still has a bar, inside the axis.
    """
    for row in drawn(a_step(start=10, took=0), a_step(start=-5, took=30), a_step(start=0, took=0)):
        assert row.bar.width >= 4
        assert row.bar.x >= 0
        assert row.bar.x + row.bar.width <= timeline.WIDTH


def test_an_open_step_reaches_to_now():
    """
    What is under way has no end yet and says so in words.
    """
    [row] = drawn(a_step(start=4, took=None, status="started"))

    assert row.bar == timeline.Bar(x=400.0, width=600.0)
    assert (row.look, row.word, row.took) == ("step open", "under way", "")


def test_waits_are_drawn_apart_from_work():
    """
    A sleep of an hour is no work of an hour.
    """
    [wait, step] = drawn(a_step(kind="wait", status="fired"), a_step(2))

    assert (wait.look, wait.word) == ("wait done", "over")
    assert step.look == "step done"


def test_a_new_epoch_marks_where_another_process_went_on():
    """
    The first row of a page knows the epoch before it, so that paging does not invent restarts.
    """
    resumed = [row.resumed for row in drawn(a_step(1), a_step(2), a_step(3, epoch=3), a_step(4, epoch=3))]
    end = AT + timedelta(seconds=9)
    steps = [a_step(5, epoch=3)]
    paged = [row.resumed for row in timeline.rows(steps, timeline.axis(AT, end, steps, end), epoch_before=3)]

    assert resumed == [0, 0, 3, 0]
    assert paged == [0]


def test_a_process_that_came_to_nothing_is_marked_at_the_beginning():
    """
    A session whose first process died in its first step shows that something happened before the first row.
    """
    end = AT + timedelta(seconds=9)
    steps = [a_step(1, epoch=2)]

    [row] = timeline.rows(steps, timeline.axis(AT, end, steps, end), epoch_before=1)

    assert (row.resumed, row.was_parked) == (2, False)


def test_a_process_that_was_put_away_is_told_from_one_that_died():
    """
    After a long wait a new process is no accident; after a short one it is.
    """
    long = drawn(a_step(1, kind="wait", took=3600), a_step(2, start=3600, epoch=2), seconds=4000)
    woken = drawn(a_step(1), a_step(2, kind="wait", took=3600, epoch=2), seconds=4000)
    short = drawn(a_step(1, kind="wait", took=1), a_step(2, start=2, epoch=2))

    assert [row.was_parked for row in long if row.resumed] == [True]
    assert [row.was_parked for row in woken if row.resumed] == [True]
    assert [row.was_parked for row in short if row.resumed] == [False]


def test_previews_of_any_shape_are_shown():
    """
    Inputs, result and error are told apart where the preview says so; anything else is the result.
    """
    shapes = [
        {"args": [1], "result": 2},
        {"args": [1], "kwargs": {"a": 2}, "result": None},
        {"args": [], "error": "boom"},
        {"until": "2026"},
        "text",
        None,
    ]

    found = [(row.inputs, row.result, row.error) for row in drawn(*(a_step(preview=p) for p in shapes))]

    assert found == [
        ([1], 2, None),
        ({"args": [1], "kwargs": {"a": 2}}, None, None),
        ([], None, "boom"),
        (None, {"until": "2026"}, None),
        (None, "text", None),
        (None, None, None),
    ]


def test_the_axis_covers_steps_that_end_after_the_session_says_it_did():
    """
    Clocks of two machines differ; the picture holds all bars and never divides by nothing.
    """
    steps = [a_step(start=0, took=20)]
    axis = timeline.axis(AT, AT, steps, AT)
    empty = timeline.axis(AT, AT, [], AT)

    assert axis.end == AT + timedelta(seconds=20)
    assert [text for _, text in axis.marks] == ["0 s", "5.0 s", "10.0 s", "15.0 s", "20.0 s"]
    assert empty.end > empty.start
