"""What uv says while it works, gathered a line at a time and told to whoever waits for it.

Credentials of an index and our directories are taken out before anybody sees a line.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

#: The newest of what uv said; the rest is forgotten. characters
KEPT = 64_000
#: Lines that come together are told together. seconds
_PACE = 0.25
#: Name and password in an address, such as that of an index of one's own.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+@")
#: Terminals would obey these, and PostgreSQL takes no NUL.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
#: Of what its resolver writes down, what tells a person how far it is.
_TELLING = re.compile(
    r"(Sending .* request for|Searching for a compatible version of|Selecting|Downloading|"
    r"Preparing metadata for|Building|Transient request failure)\b"
)
_LOGGED = re.compile(r"(TRACE|DEBUG|INFO) (.*)")
#: Where uv comes to the point, after lines about its progress.
_POINT = re.compile(r"^\s*(error\b|\u00d7)")

#: Takes all that was said so far.
Tell = Callable[[str], None]


class Progress:
    """Picks from the log of uv's resolver what it does now: it says nothing else without a terminal.

    What an error says, and whatever else is no line of the log, passes as it is.
    """

    def __init__(self, add: Callable[[str], None]) -> None:
        self._add = add
        self._passes = True

    def add(self, line: str) -> None:
        """Take one line; one that is indented belongs to the line before it."""
        logged = _LOGGED.match(line)
        if logged is not None:
            line = logged[2]
            self._passes = _TELLING.match(line) is not None
        elif not line.startswith(" "):
            self._passes = True
        if self._passes:
            self._add(line)


class Words:
    """What was said in one attempt.

    Attributes:
        text: All of it, up to the newest `KEPT` characters.
    """

    def __init__(self, hidden: Sequence[str] = ()) -> None:
        self.text = ""
        self._hidden = hidden
        self._tells: list[Tell] = []
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def told(self, tell: Tell) -> Iterator[None]:
        """Tell someone while this lasts; at its end, once more, so that nothing is missing."""
        self._tells.append(tell)
        if self.text:
            tell(self.text)
        try:
            yield
        finally:
            self.flush()
            self._tells.remove(tell)

    @property
    def is_heard(self) -> bool:
        """Whether anybody is told."""
        return bool(self._tells)

    def begin(self, *hidden: str) -> None:
        """Forget what an earlier attempt said; leave these out of every line from now on."""
        self.text, self._hidden = "", hidden

    def add(self, line: str) -> None:
        """Take one line, and tell it soon."""
        self.text = (self.text + self._safe(line) + "\n")[-KEPT:]
        if self._timer is None and self._tells:
            self._timer = asyncio.get_running_loop().call_later(_PACE, self.flush)

    def flush(self) -> None:
        """Tell now what has not been told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            for tell in tuple(self._tells):
                tell(self.text)

    def point(self) -> str:
        """Return what an error should say: from where uv names the trouble, else all of it."""
        lines = self.text.splitlines()
        start = next((at for at, line in enumerate(lines) if _POINT.match(line)), 0)
        return "\n".join(lines[start:]).strip()

    def _safe(self, line: str) -> str:
        line = _CONTROLS.sub("", _CREDENTIALS.sub("***@", line))
        for place in self._hidden:
            line = line.replace(place, "")
        return line.rstrip()
