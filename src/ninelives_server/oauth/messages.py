"""Requests and answers of a conversation with a provider, as plain values.

Protocol code here does no I/O: a flow is a generator that yields a `Request`, is sent an `Answer` and returns
what it found. Who drives it decides about sockets, time-outs and allowed hosts (`integrations.http`).
"""

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request; its body and headers carry secrets and are never part of its repr.

    Attributes:
        form: Sent as `application/x-www-form-urlencoded` where it is not `None`.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: status, headers with lower-case names, body; or why nothing did.

    Attributes:
        status: 0 where no answer came.
        failure: Why no answer came, for people; empty where one did.
        may_have_arrived: Of a request without an answer: the service may have acted on it.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    failure: str = ""
    may_have_arrived: bool = True

    @property
    def ok(self) -> bool:
        """Whether it is a success (2xx)."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> object:
        """Return the parsed body, or `None` where it is no JSON (an HTML page, an empty body)."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def document(self) -> dict[str, object]:
        """Return the parsed body where it is a JSON object, else an empty one."""
        found = self.json()
        return found if isinstance(found, dict) else {}


#: A conversation: yields requests, is sent answers, returns its finding.
Flow = Generator[Request, Answer, T]
