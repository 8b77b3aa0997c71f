"""Sessions that Temporal finds a worker because none of ours had room: meanwhile nobody overtakes.

Without that a new session would get the place that has just become free before Temporal, which is slower,
can give it to one that has waited for long.
"""

from collections.abc import Callable

#: After this time a session is taken to have found another server's worker. seconds
FORGOTTEN = 60.0


class Crowd:
    """Those that wait, in the order in which they came; `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._since: dict[str, float] = {}

    def add(self, session_id: str) -> None:
        """Note that a session waits for room."""
        self._since.setdefault(session_id, self._now())

    def discard(self, session_id: str) -> None:
        """Note that it does not wait any more."""
        self._since.pop(session_id, None)

    def __bool__(self) -> bool:
        """Tell whether anybody waits."""
        before = self._now() - FORGOTTEN
        while self._since:
            session_id, since = next(iter(self._since.items()))
            if since > before:
                return True
            del self._since[session_id]
        return False
