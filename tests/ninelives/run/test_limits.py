"""`run.limits`: an error that a limit has caused says who can raise the limit, and where."""

import pytest

from ninelives.run import limits
from ninelives.run.output import Room

SETTING = "NINELIVES_LIMITS__MEMORY_MB"
ASK = f"ask whoever runs it to raise {SETTING}"


LOCKED = "no manifest may raise it on this server (NINELIVES_LIMITS__LOCKED)"
FREE = "raise it in the manifest (project: limits: memory_mb)"


@pytest.mark.parametrize(
    ("limit", "ceiling", "way"),
    [
        (128, 0, f"{FREE} or for the whole server ({SETTING})"),
        (256, 256, f"{LOCKED}; {ASK}"),
        (128, 256, f"{FREE} to at most 256, which is all that this server allows; for more {ASK}"),
    ],
)
def test_the_way_out_is_one_that_is_open(limit: int, ceiling: int, way: str):
    """
    A manifest that asks for more than a locked server gives changes nothing.
    """
    error = MemoryError()

    limits.explain(error, {"memory_mb": limit}, {"memory_mb": ceiling} if ceiling else {})

    assert error.__notes__ == [f"the session has reached its memory limit of {limit} MB; {way}"]


def test_two_limits_that_may_have_been_reached_have_a_way_out_each(monkeypatch: pytest.MonkeyPatch):
    """
    Where threads are refused, one of them may be open to the manifest and the other not.
    """
    monkeypatch.setattr(limits, "_tasks", lambda: 0)
    monkeypatch.setattr(limits, "_has_room", lambda: True)
    error = RuntimeError("can't start new thread")

    limits.explain(error, {"processes": 64, "memory_mb": 128}, {"memory_mb": 128})

    [note] = error.__notes__
    assert "in the manifest (project: limits: processes) or for the whole server" in note
    assert ASK in note


def test_what_cuts_the_output_names_the_open_way_too():
    """
    It is printed where the output ends.
    """
    room = Room(1, 0, {"output_mb": 1})

    kept = room.fit(b"x" * 1_200_000)

    assert b"ask whoever runs it to raise NINELIVES_LIMITS__OUTPUT_MB" in kept
