"""Where a line of code stands: in which strand, and whether its calls are recorded.

A strand is one line of user code: `0` is the main one; each task, thread and call handed to an executor is a
child of the strand that made it, numbered in the order of making. Keys of records are numbers that a strand
gives out. A scope travels in a context variable, so it follows tasks and is absent in threads of libraries.
"""

import hashlib
from contextvars import ContextVar
from threading import Lock
from typing import Any, Final

from ninelives.run.past import Past

#: Strand names are a column of 100 characters.
_LONGEST_NAME = 80


class Strand:
    """One line of user code.

    Attributes:
        name: `0`, `0.2`, `0.2.0`, …
        stop_n: The key that a stop has taken in this strand.
    """

    __slots__ = (
        "_calls",
        "_children",
        "_hashes",
        "_lock",
        "_logs",
        "_values",
        "calls",
        "chance",
        "name",
        "stop_n",
        "values",
    )

    def __init__(self, name: str, past: Past) -> None:
        self.name: Final = name
        self.calls: Final = past.calls(name)
        self.values: Final = past.values(name)
        self.chance: Any = None
        self.stop_n: int | None = None
        self._calls = 0
        self._values = 0
        self._logs = 0
        self._children = 0
        self._hashes = 0
        self._lock = Lock()

    def take(self) -> int:
        """Take the next key for a step or wait."""
        with self._lock:
            n = self._calls
            self._calls = n + 1
            return n

    def give_back(self) -> None:
        """Give the key back that was taken last."""
        with self._lock:
            self._calls -= 1

    def take_for_stop(self) -> int:
        """Take the next key for a stop; whoever takes the following one finds out."""
        with self._lock:
            n = self.stop_n = self._calls
            self._calls = n + 1
            return n

    def take_value(self) -> int:
        """Take the next key for a reading of a clock."""
        with self._lock:
            n = self._values
            self._values = n + 1
            return n

    def take_log(self) -> int:
        """Take the next key for something printed."""
        with self._lock:
            n = self._logs
            self._logs = n + 1
            return n

    def skip_logs(self, count: int) -> None:
        """Begin with this key for what is printed."""
        self._logs = count

    def take_hash(self) -> int:
        """Return a hash for an object that the strand makes; the same when the code runs again."""
        with self._lock:
            self._hashes += 1
            return hash((self.name, self._hashes))

    def child_name(self) -> str:
        """Return the name of the next child."""
        with self._lock:
            k = self._children
            self._children = k + 1
        name = f"{self.name}.{k}"
        if len(name) > _LONGEST_NAME:
            name = f"~{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        return name


class Scope:
    """How the code that runs now is treated.

    Attributes:
        strand: Gives the keys.
        records: Calls become steps.
        decides: Clock and chance are answered from the session.
    """

    __slots__ = ("decides", "records", "strand")

    def __init__(self, strand: Strand, *, records: bool, decides: bool) -> None:
        self.strand: Final = strand
        self.records: Final = records
        self.decides: Final = decides

    @property
    def logs(self) -> Strand:
        """Gives the keys of what is printed; inside a step that is the step itself."""
        return self.strand


#: The scope of the code that runs now; `None` in threads that are no strands.
current: ContextVar[Scope | None] = ContextVar("ninelives_scope", default=None)


def user_scope(strand: Strand) -> Scope:
    """Return the scope of a strand's own code."""
    return Scope(strand, records=True, decides=True)
