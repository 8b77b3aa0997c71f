"""`cli.patience`: how long a command goes on asking, and what it says meanwhile."""

import pytest

from ninelives_server.cli.client import NO_SERVER, Broken, Stop
from ninelives_server.cli.patience import LONGEST, Patience, lasting


class Time:
    """Passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


def _patience(time: Time, has_met: bool = False) -> Patience:
    return Patience(has_met=has_met, sleep=time.sleep, now=lambda: time.now)


def _broken() -> Broken:
    return Broken("the connection broke", NO_SERVER)


def test_where_nobody_has_ever_answered_the_command_ends_at_once(time: Time):
    """
    There is no server: to wait for one would hide a wrong address.
    """

    def attempt(patience: Patience) -> None:
        raise _broken()

    with pytest.raises(Stop) as stopped:
        lasting(attempt, _patience(time))

    assert stopped.value.exit_code == NO_SERVER
    assert time.slept == []


def test_a_break_is_said_once_and_so_is_its_end(time: Time, capsys: pytest.CaptureFixture[str]):
    """
    Pauses grow; the next break begins with a short one again.
    """
    results = iter([_broken(), _broken(), _broken(), None, _broken(), None])

    def attempt(patience: Patience) -> str:
        for result in results:
            if result is not None:
                raise result
            patience.reached()
        return "the end"

    assert lasting(attempt, _patience(time, has_met=True)) == "the end"
    assert time.slept == [0.25, 0.5, 1.0, 0.25]
    assert capsys.readouterr().err.splitlines() == [
        "the connection broke; trying again for 60 s",
        "connected again",
        "the connection broke; trying again for 60 s",
        "connected again",
    ]


def test_patience_ends(time: Time):
    """
    With the code for a server that is not there.
    """

    def attempt(patience: Patience) -> None:
        raise _broken()

    with pytest.raises(Stop, match="gave up after 60 s") as stopped:
        lasting(attempt, _patience(time, has_met=True))

    assert stopped.value.exit_code == NO_SERVER
    assert LONGEST <= time.now < LONGEST + 5


def test_other_ends_of_an_attempt_are_not_tried_again(time: Time):
    """
    Nobody may look any more, or the thing is gone.
    """

    def attempt(patience: Patience) -> None:
        raise Stop("there is no such session", 3)

    with pytest.raises(Stop, match="no such session"):
        lasting(attempt, _patience(time, has_met=True))

    assert time.slept == []
