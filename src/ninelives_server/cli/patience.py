"""Going on with a conversation whose connection breaks: ask again for a while, and say so on stderr.

A server restarts, a proxy cuts a stream, a laptop changes its network. Who looks on meanwhile has done
nothing wrong. That nothing is shown twice is for the caller to see to.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from ninelives_server.cli import output as out
from ninelives_server.cli.client import Broken, fail

T = TypeVar("T")

#: How long nobody may answer. seconds
LONGEST = 60.0
#: Before the first attempt, doubled up to the longest pause. seconds
_PAUSES = (0.25, 4.0)


class Patience:
    """How long nobody has answered, in one conversation.

    Attributes:
        has_met: Whether anybody ever has: where not, there is no server, and nothing to wait for.
    """

    def __init__(
        self,
        *,
        has_met: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.has_met = has_met
        self._sleep = sleep
        self._now = now
        self._since: float | None = None
        self._pause = _PAUSES[0]

    def reached(self) -> None:
        """Note that the server has said something."""
        if self._since is not None:
            out.say("connected again")
        self.has_met, self._since, self._pause = True, None, _PAUSES[0]

    def wait(self, broken: Broken) -> None:
        """Wait before the next attempt.

        Raises:
            Stop: It has been long enough, or nobody has ever answered.
        """
        if not self.has_met:
            raise broken
        if self._since is None:
            self._since = self._now()
            out.say(f"{broken.message}; trying again for {LONGEST:.0f} s")
        elif self._now() - self._since >= LONGEST:
            fail(f"{broken.message}; gave up after {LONGEST:.0f} s", broken.exit_code)
        self._sleep(self._pause)
        self._pause = min(2 * self._pause, _PAUSES[1])


def lasting(attempt: Callable[[Patience], T], patience: Patience | None = None) -> T:
    """Attempt something until it comes to its end; it is begun anew whenever the connection breaks.

    Args:
        attempt: Is handed the patience, to tell it whenever the server has said something.
        patience: One that has met the server already; a new one where it is not given.

    Raises:
        Stop: What an attempt came to, or patience was over.
    """
    patience = patience or Patience()
    while True:
        try:
            return attempt(patience)
        except Broken as broken:
            patience.wait(broken)
