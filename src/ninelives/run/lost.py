"""What is known of a live value whose process has ended, and how it is made again.

A *handle* is made by the same call, a *file* opened again where it stood; anything else is `LiveValueLost`.
"""

import pickle
import queue
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from ninelives.errors import LiveValueLost
from ninelives.run import calltable, files

#: Attributes that say whether something was closed.
_CLOSED: Final = frozenset({"_closed", "closed", "is_closed"})


class Lost:
    """What is known of a live value whose process has ended.

    Attributes:
        about: What the record says of it.
        make: Makes it again; `None` where that cannot be.
        made: The value, once it was made again.
        set: Attributes that user code has set since.
        reference: How records refer to it, where it is part of another one.
        repeat: Done to a cursor that was made again, to have it stand where it stood.
        stands: The placeholder.
        recorded: The iterator over it whose items are recorded.
        on_made: Told about the value when it was made again.
        entered: What entering it gave, where it is a context.
        is_left: It was closed, or left, after its process had ended.
    """

    #: Called before anything is made again; what checks code against a journal ends there (`run.check`).
    before_making: ClassVar[Callable[[], None]] = staticmethod(lambda: None)

    __slots__ = (
        "_fields", "_parts", "about", "entered", "is_left", "made", "make", "on_made", "recorded",
        "reference", "repeat", "seq", "set", "stands", "step",
    )  # fmt: skip

    def __init__(self, about: dict[str, Any], step: str, seq: int, make: Callable[[], Any] | None) -> None:
        self.about: Final = about
        self.step: Final = step
        self.seq: Final = seq
        self.make = make
        self.made: list[Any] = []
        self.set: dict[str, Any] = {}
        self.reference: Any = None
        self.recorded: Any = None
        self.repeat: list[Callable[[Any], Any]] = []
        self.stands: weakref.ref[Any] | None = None
        self.entered: Lost | None = None
        self.is_left = False
        self.on_made: Callable[[dict[str, Any], Any], None] | None = None
        self._fields: dict[str, Any] = {}
        self._parts: dict[str, Lost] = {}

    def real(self) -> Any:
        """Return the value, made again if that can be.

        Raises:
            LiveValueLost: It cannot.
        """
        if not self.made:
            Lost.before_making()
            self._take(self._again())
        return self.made[0]

    def for_a_loop(self) -> Any:
        """Return the value to be looped over from its beginning: an iterator is made again by its call."""
        if self.about["what"] == "iterator" and not self.made and self.make is not None:
            Lost.before_making()
            self._take(self.make())
        return self.real()

    def _take(self, value: Any) -> None:
        self.made.append(value)
        for name, item in self.set.items():
            setattr(value, name, item)
        if self.about.get("position"):
            value.seek(self.about["position"])
        for repeat in self.repeat:
            repeat(value)
        if self.on_made is not None and "key" in self.about:
            self.on_made(self.about, value)

    def _again(self) -> Any:
        what = self.about["what"]
        place = f" (record {self.seq})" if self.seq else ""
        if self.about.get("in_transaction"):
            raise LiveValueLost(
                f"the {self.about['name']} that step {self.step}{place} returned was in a "
                "transaction when its process ended, and the database has taken back what was not committed; "
                "make the whole transaction one step (@ninelives.step)"
            )
        if what == "handle" and self.make is not None:
            return self.make()
        if what == "file":
            return files.reopen(self.about["file"], self.step, self.seq)
        if what == "directory":
            return files.directory(self.field("name"))
        raise LiveValueLost(
            f"step {self.step}{place} returned a {self.about['name']}, which cannot be recorded and was lost "
            "with its process; return plain data from a step of your own (@ninelives.step), or make it in a "
            "function marked @ninelives.live"
        )

    @property
    def has_ended(self) -> bool:
        """Whether the value was closed by the end of its process, and needs no closing."""
        return not self.made and self.about["type"] in calltable.ENDED

    def was_left(self) -> None:
        """Note that it was left, or closed: a file is closed then, a temporary directory removed."""
        self.is_left = True
        if self.about["what"] == "file":
            self.about["file"] = {**self.about["file"], "closed": True}
        if self.about["what"] == "directory":
            files.directory(self.field("name")).cleanup()

    # --- attributes -----------------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Tell whether an attribute is known."""
        return name in self.set or name in self._fields or name in self.about.get("fields", ())

    def field(self, name: str) -> Any:
        """Return an attribute that is known; the same object each time."""
        if name in self.set:
            return self.set[name]
        if name == "closed" and self.about["what"] == "file":
            return self.about["file"]["closed"]
        if name not in self._fields:
            self._fields[name] = pickle.loads(self.about["fields"][name])
        found = self._fields[name]
        if self.is_left and name == "returncode" and found is None:
            return self.real().returncode  # leaving it would have told, had its process not ended
        return self.is_left if name in _CLOSED and self.is_left else found

    def has_fresh(self, name: str) -> bool:
        """Tell whether a part is a lock or the like, an object of each process; there is a new one then."""
        fresh = _of_this_process(self.about["parts"][name])
        if fresh is not None:
            self._fields[name] = fresh
        return fresh is not None

    def changed(self, fields: Mapping[str, bytes]) -> None:
        """Note attributes as a step left them; those that it did not change stay the same objects."""
        before = self.about.get("fields", {})
        for name, data in fields.items():
            if before.get(name) != data:
                self._fields.pop(name, None)
                if name in self.set and pickle.loads(data) != self.set[name]:
                    del self.set[name]
        self.about["fields"] = dict(fields)

    def be(self, state: Mapping[str, Any]) -> None:
        """Note how the value was after a step that is replayed."""
        if "fields" in state:
            self.changed(state["fields"])
        self.about.update({name: item for name, item in state.items() if name != "fields"})

    def part(self, name: str, about: dict[str, Any]) -> "Lost":
        """Return what is known of an attribute that is an object of a library."""
        if name not in self._parts:
            self._parts[name] = Lost(about, self.step, self.seq, lambda: getattr(self.real(), name))
        return self._parts[name]


def lost_of(placeholder: object) -> Lost:
    """Return what a placeholder stands for."""
    lost: Lost = object.__getattribute__(placeholder, "_ninelives_lost")
    return lost


def _of_this_process(about: Mapping[str, Any]) -> Any:
    """Return a new lock, event or queue, like the one that a lost value had; `None` for anything else."""
    if about["qualname"].endswith(("SessionLock", "SessionRLock")):
        return threading.RLock() if about["qualname"].endswith("RLock") else threading.Lock()
    if about["module"] not in {"threading", "queue"}:
        return None
    cls = getattr(threading if about["module"] == "threading" else queue, about["qualname"], None)
    try:
        return cls() if isinstance(cls, type) else None
    except TypeError:
        return None  # a barrier, a thread: they are made for something
