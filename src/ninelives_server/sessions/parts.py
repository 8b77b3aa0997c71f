"""What all links with workers share."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from ninelives_server.clock import Clock
from ninelives_server.sessions.crowd import Crowd
from ninelives_server.sessions.direct import Keep
from ninelives_server.sessions.group import Group
from ninelives_server.sessions.journal import Journal


class Scheduler(Protocol):
    """What finds sessions a worker, and remembers when they are due (`engine.starter`)."""

    async def fail_activity(self, session_id: str, activity_id: str) -> None:
        """Have the activity of a lost worker started again at once."""
        ...

    def wake(self, session_id: str) -> None:
        """Have a session looked at soon."""
        ...

    def ask(self, session_id: str) -> None:
        """Have Temporal care for a session: find it a worker, or wake it when it is due if it is parked."""
        ...

    def over(self, session_id: str) -> None:
        """Tell Temporal, where it cares for a session, that it has ended."""
        ...


#: Answers `token`: takes session id and arguments, returns value and error.
Tokens = Callable[[str, Mapping[str, Any]], Awaitable[tuple[Any, Mapping[str, str] | None]]]
#: Refreshes the access tokens that a session's process will find in its environment; takes the session id.
Prepare = Callable[[str], Awaitable[None]]


class Parts(NamedTuple):
    """What all links share.

    Attributes:
        crowd: Sessions that wait for room on a worker of ours.
        keep: Stores large values of sessions that speak to us themselves.
    """

    journal: Journal
    group: Group
    tokens: Tokens
    scheduler: Scheduler
    clock: Clock
    prepare: Prepare
    crowd: Crowd
    keep: Keep
