"""How a worker introduces itself over its link."""

from collections.abc import Mapping
from typing import NamedTuple

from ninelives.run.wire import BrokenFrame, Frame
from ninelives_server import ids


class Hello(NamedTuple):
    """How a worker introduces itself.

    Attributes:
        sessions: Those it still runs, with their epochs.
        semantics: The versions that its release has; the first release did not say.
        takes: It runs what it is given unasked; the first release did not, and one that stops does not.
        release: The version of its Ninelives; earlier ones did not say.
        begins: It says when the code of a session that is not durable begins, and waits for the answer.
    """

    worker_id: str
    name: str
    slots: int
    python: str
    isolation: str
    sessions: Mapping[str, int]
    semantics: frozenset[int]
    takes: bool
    begins: bool
    release: str


def of_frame(frame: Frame) -> Hello:
    """Read a frame `hello`.

    Raises:
        BrokenFrame: It lacks something.
    """
    head = frame.head
    try:
        return Hello(
            worker_id=str(head.get("worker_id") or ids.new("wrk"))[:80],
            name=str(head.get("name") or ""),
            slots=int(head.get("slots") or 0),
            python=str(head.get("python") or ""),
            isolation=str(head.get("isolation") or "none"),
            sessions=sessions_of(frame),
            semantics=frozenset(map(int, head.get("semantics") or [1])),
            takes=bool(head.get("takes")),
            begins=bool(head.get("begins")),
            release=str(head.get("release") or ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenFrame(f"the worker's hello cannot be read: {error}") from error


def sessions_of(frame: Frame) -> dict[str, int]:
    """Return the sessions that a worker says it runs, with their epochs."""
    try:
        return {str(item["sid"]): int(item["ep"]) for item in frame.head.get("sessions") or ()}
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenFrame(f"the worker's sessions cannot be read: {error}") from error
