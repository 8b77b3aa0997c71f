"""The live values of a process: what is recorded of them, and how records refer to them and to their parts.

An issue of GitHub's library holds the client that it came from, with a lock and a token in it. It is recorded
by value all the same: the client within it is a live value, and the record holds a reference in its place. A
reference is the key of the step that returned the live value, and the attributes that lead from there.
"""

import io
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ninelives.errors import LiveValueLost
from ninelives.run import calltable, fields, files, memory, transactions
from ninelives.run.classify import class_name
from ninelives.run.digest import type_name
from ninelives.run.live import Placeholder, is_placeholder, resolve, standing_for
from ninelives.run.lost import Lost, lost_of
from ninelives.run.masking import Masks
from ninelives.run.queries import Touch

#: Parts of a live value that records may refer to: so many, and so deep.
_MOST_PARTS, _DEEPEST = 50, 2


class Reference(NamedTuple):
    """What a record holds in the place of a live value, or of a part of one.

    Attributes:
        key: Of the step that returned the live value.
        path: The attributes that lead to the part.
        about: What is known of it.
    """

    key: str
    path: tuple[str, ...]
    about: dict[str, Any]


class Registry:
    """The live values of this process."""

    def __init__(
        self,
        masks: Masks,
        is_user_class: Callable[[type], bool] = lambda _cls: False,
        is_own: Callable[[Any], bool] = lambda _fn: False,
    ) -> None:
        self._masks = masks
        self._is_own = is_own
        self._fields = fields.Fields(masks, is_user_class)
        self._known: dict[int, tuple[Any, dict[str, Any]]] = {}
        self._parts: dict[int, tuple[weakref.ref[Any], Reference]] = {}
        self._values: dict[str, Any] = {}
        self._losts: dict[str, Lost] = {}
        #: What is known of files and connections, which change with steps on other things.
        self._watched: dict[str, dict[str, Any]] = {}
        #: Connections in transactions that have only asked so far.
        self._asking: set[str] = set()
        #: The key and the context of the step whose record is read, where it entered one that is lost.
        self._entering: tuple[str, Lost | None, Callable[[], Any]] = ("", None, lambda: None)
        #: Objects, by their id, that a step left in a state that ended with its process, and that step.
        self._left: dict[int, tuple[Any, str]] = {}
        self.has_placeholders = False

    def __bool__(self) -> bool:
        return bool(self._known)

    def form(self, value: object) -> str | None:
        """Return the name that a live value counts as in digests; `None` where it is none."""
        found = self._known.get(id(value))
        return None if found is None else str(found[1]["type"])

    def is_live(self, value: object) -> bool:
        """Tell whether a value is a live one of this process, or stands for one."""
        return id(value) in self._known or is_placeholder(value)

    @property
    def has_any(self) -> bool:
        """Whether a record may have to refer to something."""
        return bool(self._known or self._losts)

    @property
    def holds_unique(self) -> bool:
        """Whether something lives here that can never be made again."""
        return any(about["what"] == "other" for _, about in self._known.values())

    # --- what a step returned -------------------------------------------------------------------------------

    def add(self, value: Any, key: str, step: str, *, is_handle: bool = False) -> dict[str, Any]:
        """Remember a live value, which the step with this key returned; return what is recorded of it."""
        about = self._about(value, is_handle=is_handle)
        about |= {"key": key, "step": step, "fields": self._fields.of(value)}
        if callable(value) and self._is_own(value):
            about["is_own"] = True  # a call of it is no step; the calls in it are
        about["parts"] = {n: self._about(part, like=about) for n, part in self._fields.parts(value)}
        if files.is_file(value):
            about.update(files.about(value))
        self._remember(value, about)
        return about

    def made_again(self, about: dict[str, Any], value: Any) -> None:
        """Remember a value that was lost and is here again."""
        self._remember(value, about)

    def _about(
        self, value: Any, *, is_handle: bool = False, like: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        cls = type(value)
        return {
            "what": like["what"] if like is not None else _what(value, is_handle=is_handle),
            "type": type_name(cls),
            "name": class_name(cls),
            "module": cls.__module__,
            "qualname": cls.__qualname__,
            "repr": self._masks.text(_look(value)),
        }

    def _remember(self, value: Any, about: dict[str, Any]) -> None:
        self._known[id(value)] = (self._hold(value), about)
        self._values[about["key"]] = self._known[id(value)][0]
        if about["what"] == "file" or (about["what"] == "handle" and _is_watched(value)):
            self._watched[about["key"]] = about
        for reference, part in self._reach(value, Reference(about["key"], (), about)):
            self._parts[id(part)] = (weakref.ref(part), reference)

    def _reach(self, value: Any, reference: Reference) -> Iterator[tuple[Reference, Any]]:
        """Go over the parts of a live value: objects among its attributes, and among theirs."""
        todo, seen = [(value, reference)], 0
        while todo and seen < _MOST_PARTS:
            owner, place = todo.pop(0)
            for name, part in self._fields.parts(owner):
                seen += 1
                inner = Reference(place.key, (*place.path, name), self._about(part, like=place.about))
                yield inner, part
                if len(inner.path) < _DEEPEST:
                    todo.append((part, inner))

    def _hold(self, value: Any) -> Any:
        """Hold a value so that its id stays its own: weakly where that can be."""
        key, known = id(value), self._known
        try:
            return weakref.ref(value, lambda _: known.pop(key, None))
        except TypeError:
            return value

    # --- how live values are --------------------------------------------------------------------------------

    def states(self, args: Iterable[Any], touch: Touch) -> dict[str, Any]:
        """Return what has changed since this was asked last: attributes of arguments, files, transactions."""
        found: dict[str, Any] = {}
        reals = [_real(value) for value in args]
        for real in reals:
            known = self._known.get(id(real))
            if known is not None and known[1]["what"] != "file":
                self._note(found, known[1], "fields", self._fields.of(real))
        for about in list(self._watched.values()):
            self._state_of(found, about, reals, touch)
        return found

    def _state_of(
        self, found: dict[str, Any], about: dict[str, Any], args: Sequence[Any], touch: Touch
    ) -> None:
        value = self._value(about["key"])
        if value is None:
            del self._watched[about["key"]]
        elif about["what"] == "file":
            self._note(found, about, "file", files.position(value))
        else:
            is_touched = any(arg is value for arg in args)
            self._note(found, about, "in_transaction", self._can_lose(about, value, is_touched, touch))
            if _is_read(type(value), value):
                self._note(found, about, "position", files.tell(value))

    def _can_lose(self, about: Mapping[str, Any], value: Any, is_touched: bool, touch: Touch) -> bool:
        """Tell whether a connection is in a transaction that has done more than ask."""
        key = about["key"]
        is_open = transactions.is_open(value)
        if is_open and touch.is_harmless and not about.get("in_transaction"):
            self._asking.add(key)
        elif not is_open or touch.may_change or (is_touched and not touch.is_harmless):
            self._asking.discard(key)
        return is_open and key not in self._asking

    def _note(self, found: dict[str, Any], about: dict[str, Any], what: str, now: Any) -> None:
        if now is not None and now != about.get(what):
            about[what] = now
            found.setdefault(about["key"], {})[what] = now

    def apply(self, states: Mapping[str, Any]) -> None:
        """Note how live values were after a step that is replayed."""
        for key, state in states.items():
            if key in self._losts:
                self._losts[key].be(state)

    def _value(self, key: str) -> Any:
        kept = self._values.get(key)
        return kept() if isinstance(kept, weakref.ref) else kept

    def left(self, value: Any, step: str | None) -> None:
        """Note the step that left an object in a state which is lost; `None` where nothing of it is."""
        if step is None:
            self._left.pop(id(value), None)
        else:
            self._left[id(value)] = (value, step)

    def see_there(self, args: Sequence[Any]) -> None:
        """See that a receiver is as the code left it.

        Raises:
            LiveValueLost: Its state ended with an earlier process.
        """
        if self._left and args and id(args[0]) in self._left:
            step, name = self._left[id(args[0])][1], class_name(type(args[0]))
            raise LiveValueLost(
                f"step {step} left its {name} in a state that cannot be recorded and was lost "
                "with its process; make what belongs together one step of your own "
                "(@ninelives.step), or make the object in a function marked @ninelives.live"
            )

    # --- references -----------------------------------------------------------------------------------------

    def reference(self, value: Any) -> Reference | None:
        """Return what a record holds in the place of an object that is live, or part of something live."""
        if is_placeholder(value):
            lost = lost_of(value)
            return (
                lost.reference if lost.reference is not None else Reference(lost.about["key"], (), lost.about)
            )
        known = self._known.get(id(value))
        if known is not None:
            return Reference(known[1]["key"], (), known[1])
        found = self._parts.get(id(value))
        return found[1] if found is not None and found[0]() is value else None

    def is_entering(self, key: str, context: Lost, again: Callable[[], Any]) -> None:
        """Note that the step whose record is read next entered a lost context; `again` does that again."""
        self._entering = (key, context, again)

    def _lost(self, about: dict[str, Any]) -> Lost:
        """Return what is known of a value that a record refers to; entering a context may make it again."""
        key, context, again = self._entering
        if context is None or about["key"] != f"{key}[0]":
            return Lost(about, about["step"], 0, None)
        context.entered = Lost(about, about["step"], 0, lambda: again()[0])
        return context.entered

    def referred_to(self, reference: Reference) -> Any:
        """Return what a record refers to: the object itself where it lives here, or what stands for it."""
        key, path, about = reference
        value = self._value(key)
        if value is not None:
            for name in path:
                value = getattr(value, name)
            return value
        lost = self._losts.get(key)
        if lost is None:
            lost = self._losts[key] = self._lost(about)
        for name in path:
            lost = lost.part(name, about)
        lost.reference = reference
        return self.placeholder(lost)

    # --- what is lost ---------------------------------------------------------------------------------------

    def placeholder(self, lost: Lost) -> Placeholder:
        """Return what stands for a lost value."""
        self.has_placeholders = True
        if lost.on_made is None:
            lost.on_made = self.made_again
        if lost.reference is None:
            self._losts[lost.about["key"]] = lost
        if lost.about["what"] == "directory":
            files.directory(lost.field("name"))
        return standing_for(lost)

    def resolve(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arguments with the values that placeholders stand for."""
        return tuple(map(resolve, args)), {key: resolve(value) for key, value in kwargs.items()}


def _real(value: Any) -> Any:
    """Return the value that a placeholder stands for, where it is here again."""
    if not is_placeholder(value):
        return value
    made = lost_of(value).made
    return made[0] if made else value


def _what(value: Any, *, is_handle: bool) -> str:
    cls = type(value)
    if not is_handle and memory.ends_with_process(value):
        return "other"
    if is_handle or calltable.is_handle(cls) or _is_read(cls, value):
        return "handle"
    if type_name(cls) in calltable.CONTEXTS:
        return "handle"
    if type_name(cls) == "tempfile.TemporaryDirectory":
        return "directory"
    return "iterator" if hasattr(cls, "__next__") or hasattr(cls, "__anext__") else "other"


def _is_read(cls: type, value: Any) -> bool:
    """Tell whether this is an archive that is only read: opening it again gives the same."""
    if cls is io.TextIOWrapper:
        return _is_read(type(value.buffer), value.buffer)
    return type_name(cls) in calltable.ARCHIVES and getattr(value, "mode", None) in {"r", "rb", 1}


def _is_watched(value: Any) -> bool:
    return transactions.may_begin(value) or _is_read(type(value), value)


def _look(value: object) -> str:
    try:
        return repr(value)[:200]
    except Exception:
        return f"<{type_name(type(value))}>"
