"""The place where SDK functions find the session that they run in.

The SDK knows only this protocol; `ninelives.run` puts itself here when it starts to run a session. Outside of
one, as in a test of a project's own code, there is no host.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ninelives.errors import NotInSession

#: Anything that project code may call.
Function = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and when a failed step is tried again.

    Attributes:
        times: How many more attempts follow the first.
        first: The pause before the second attempt. seconds
        factor: Each later pause is this many times the one before.
        longest: No pause is longer. seconds
        on: Only these exceptions are worth another attempt.
    """

    times: int = 3
    first: float = 1.0
    factor: float = 2.0
    longest: float = 60.0
    on: tuple[type[Exception], ...] = (Exception,)

    def pause(self, attempt: int) -> float:
        """Return the pause after this attempt, the first of which is 1. seconds."""
        return float(min(self.longest, self.first * self.factor ** (attempt - 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a decorator said about a function.

    Attributes:
        kind: `step`: one record; `live`: its result is made again by the same call; `inhibit`: no call in it
            is recorded.
        name: Overrides the function's own.
        never: It is not executed again after it has once started.
        timeout: Seconds that one attempt may take; `None`: no limit.
    """

    kind: Literal["step", "live", "inhibit"]
    name: str | None = None
    retry: Retry = field(default_factory=lambda: Retry(times=0))
    never: bool = False
    timeout: float | None = None


class Host(Protocol):
    """What the SDK asks of the session that it runs in."""

    @property
    def session_id(self) -> str:
        """The session's id."""
        ...

    @property
    def connections(self) -> frozenset[str]:
        """The names of the project's connections."""
        ...

    def plain(self, name: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments as the server takes them, or raise what is wrong with them."""
        ...

    def marked(self, mark: Mark, fn: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function as its mark says."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait, durably where the session is durable."""
        ...

    def sleep_async(self, seconds: float) -> Any:
        """Return an awaitable that waits, durably where the session is durable."""
        ...

    def call(self, name: str, args: Mapping[str, Any]) -> Any:
        """Have the server do something, exactly once."""
        ...

    def wait(self, name: str, args: Mapping[str, Any], topics: Sequence[str]) -> Any:
        """Have the server answer when something is there; `topics` are what of the inbox it concerns."""
        ...

    def wait_async(self, name: str, args: Mapping[str, Any], topics: Sequence[str]) -> Any:
        """Return an awaitable that does what `wait` does."""
        ...

    def token(self, connection: str, refused: str | None) -> Mapping[str, Any]:
        """Ask for a connection's access token; `refused` names one that does not work any more."""
        ...

    def direct(self) -> AbstractContextManager[None]:
        """Return a context in which calls are simply made."""
        ...

    def never_a_step(self, items: Any) -> None:
        """Have functions and classes called directly from now on."""
        ...


_host: Host | None = None


def install(host: Host | None) -> None:
    """Make this the session that SDK functions talk to."""
    global _host
    _host = host


def running() -> Host | None:
    """Return the session, if this process runs one."""
    return _host


def required(what: str) -> Host:
    """Return the session.

    Raises:
        NotInSession: This process runs none.
    """
    if _host is None:
        raise NotInSession(f"{what} works only inside a session; start one with `ninelives session start`")
    return _host
