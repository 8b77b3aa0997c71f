"""The open Subscribe streams, so that a test can see and end them."""

import itertools
import threading
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a stream ends: gRPC status name, text, and the `error-code` trailer (empty for none)."""

    status: str
    details: str
    error_code: str = ""


@dataclass(slots=True, kw_only=True)
class Stream:
    """One Subscribe call.

    Attributes:
        outstanding: Events that were requested and not delivered yet.
        ordered: Set from outside to end it.
    """

    stream_id: int
    topic: str
    access_token: str = field(repr=False)
    user_id: str
    outstanding: int = 0
    delivered: int = 0
    keepalives: int = 0
    position: int = 0
    ordered: Ending | None = None


class Streams:
    """The streams that are open now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, Stream] = {}
        self._numbers = itertools.count(1)

    def open(self, *, topic: str, access_token: str, user_id: str, position: int) -> Stream:
        """Register a stream."""
        with self._lock:
            stream = Stream(
                stream_id=next(self._numbers), topic=topic, access_token=access_token, user_id=user_id,
                position=position,
            )  # fmt: skip
            self._open[stream.stream_id] = stream
            return stream

    def close(self, stream: Stream) -> None:
        """Forget a stream that ended."""
        with self._lock:
            self._open.pop(stream.stream_id, None)

    def all(self) -> list[Stream]:
        """Return the open streams."""
        with self._lock:
            return list(self._open.values())
