"""Errors that project code may see.

BaseException
├── Stopped                 somebody stopped the session
├── Restarting              the session ends and its successor starts
└── Exception
    └── NinelivesError
        ├── NotInSession        called outside of a session
        ├── NoSuchSource        there is nothing of this name to subscribe to
        ├── SessionEnded        a session that has ended takes no signals
        ├── ConnectionNotReady  a connection is not there, or not connected
        ├── TokenRefused        an access token could not be renewed
        ├── MissingRequirement  a library is not among the project's requirements
        ├── LiveValueLost       an object that was lost with its process
        ├── StepInterrupted     a step with retry="never" was cut off
        ├── IteratorChanged     an iterable gave other items after a restart
        ├── NotSupported        this version cannot do that yet
        └── Divergence          the code does not do what the journal says it did
"""

from collections.abc import Mapping


class NinelivesError(Exception):
    """Any error that this package raises."""


class Stopped(BaseException):
    """The session was asked to stop; clean up and let it pass.

    It is no `Exception`, so that a plain `except Exception` does not swallow it.
    """


class Restarting(BaseException):
    """The session ends here, and its successor starts; clean up and let it pass.

    It is no `Exception`, so that a plain `except Exception` does not swallow it.
    """

    def __init__(self, data: dict[str, object]) -> None:
        super().__init__(data)
        self.data = data


class NoSuchSource(NinelivesError, ValueError):
    """The project has no connection or trigger of this name to subscribe to, or has both."""


class SessionEnded(NinelivesError):
    """A signal was sent to a session that has ended."""


class NotInSession(NinelivesError, RuntimeError):
    """A function that needs a session was called outside of one."""


class ConnectionNotReady(NinelivesError):
    """A connection does not exist in this project, or is not connected yet."""


class TokenRefused(NinelivesError):
    """An access token was refused and could not be renewed; the message says what to do."""


class MissingRequirement(NinelivesError, ImportError):
    """A helper needs a library that the project's requirements do not name."""


class LiveValueLost(NinelivesError):
    """An object that cannot be recorded, nor be made again, was needed after its process had ended."""


class StepInterrupted(NinelivesError):
    """A step with `retry="never"` had started when its process died; whether it was done is unknown."""


class IteratorChanged(NinelivesError):
    """An iterable that had to be made again gave other items than those recorded."""


class NotSupported(NinelivesError, NotImplementedError):
    """This version of Ninelives cannot do that yet."""


class Divergence(NinelivesError):
    """The code, run again, does something else than the journal recorded; the session ends.

    Attributes:
        about: Both sides and where: `seq`, `strand`, `n`, `recorded`, `called`, `file`, `line`.
    """

    def __init__(self, message: str, about: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.about = about or {}
