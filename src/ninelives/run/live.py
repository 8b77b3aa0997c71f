"""Values that cannot be recorded: known while they live, and what stands for them once they are lost.

On replay a step that returned one gives a `Placeholder`. Nothing is made again until a call that the journal
cannot answer needs it: then a *handle* is made by the same call, a *file* is opened again where it stood,
and anything else is `LiveValueLost`.
"""

import importlib
import io
import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from ninelives.errors import LiveValueLost
from ninelives.run import calltable
from ninelives.run.classify import class_name
from ninelives.run.digest import STANDS_FOR, type_name
from ninelives.run.masking import Masks

_FILES = (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO)


class Lost:
    """What is known of a live value whose process has ended.

    Attributes:
        about: What the record says of it.
        make: Makes it again.
    """

    __slots__ = ("about", "made", "make", "seq", "step")

    def __init__(self, about: dict[str, Any], step: str, seq: int, make: Callable[[], Any]) -> None:
        self.about: Final = about
        self.step: Final = step
        self.seq: Final = seq
        self.make = make
        self.made: list[Any] = []

    def real(self) -> Any:
        """Return the value, made again if that can be.

        Raises:
            LiveValueLost: It cannot.
        """
        if not self.made:
            self.made.append(self._again())
        return self.made[0]

    def for_a_loop(self) -> Any:
        """Return the value to be looped over from its beginning: an iterator is made again by its call."""
        if self.about["what"] == "iterator" and not self.made:
            self.made.append(self.make())
        return self.real()

    def _again(self) -> Any:
        what = self.about["what"]
        if what == "handle":
            return self.make()
        if what == "file":
            return _reopen(self.about["file"], self.step, self.seq)
        raise LiveValueLost(
            f"step {self.step} (record {self.seq}) returned a {self.about['name']}, which cannot be "
            f"recorded and "
            "was lost with its process; return plain data from a step of your own (@ninelives.step), or "
            "make it "
            "in a function marked @ninelives.live"
        )


class Placeholder:
    """Stands for a lost live value; looks like it as far as that needs nothing made."""

    __slots__ = ("__weakref__", "_ninelives_lost")

    def __init__(self, lost: Lost) -> None:
        object.__setattr__(self, "_ninelives_lost", lost)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The class of what it stands for, so that `isinstance` says what it said before."""
        return _class(lost_of(self)) or Placeholder

    def __getattr__(self, name: str) -> Any:
        lost = lost_of(self)
        if not lost.made:
            cls = _class(lost)
            found = getattr(cls, name, None) if cls is not None else None
            if callable(found) or cls is None:
                return Method(self, name)
        return getattr(lost.real(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(lost_of(self).real(), name, value)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> Any:
        lost = lost_of(self)
        return lost.made[0].__exit__(*error) if lost.made else None

    def __iter__(self) -> Any:
        return iter(lost_of(self).real())

    def __next__(self) -> Any:
        return next(lost_of(self).real())

    def __getitem__(self, key: object) -> Any:
        return lost_of(self).real()[key]

    def __len__(self) -> int:
        return len(lost_of(self).real())

    def __bool__(self) -> bool:
        lost = lost_of(self)
        return bool(lost.made[0]) if lost.made else True

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call what it stands for."""
        return lost_of(self).real()(*args, **kwargs)

    def __repr__(self) -> str:
        return str(lost_of(self).about["repr"])

    __ninelives_stands_for__ = staticmethod(lambda value: lost_of(value).about["type"])


assert STANDS_FOR in Placeholder.__dict__


class Method:
    """A method of a lost live value: a call of it is a step like any other."""

    __slots__ = ("_name", "_owner")

    def __init__(self, owner: Placeholder, name: str) -> None:
        self._owner = owner
        self._name = name

    @property
    def __self__(self) -> Placeholder:
        """The receiver, as methods have it."""
        return self._owner

    @property
    def step_name(self) -> str:
        """The name under which the step of a call is recorded."""
        lost = lost_of(self._owner)
        found = getattr(_class(lost), self._name, None)
        return f"{lost.about['name']}.{getattr(found, '__name__', self._name)}"

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it, having made the value again."""
        return getattr(lost_of(self._owner).real(), self._name)(*args, **kwargs)


def lost_of(placeholder: Placeholder) -> Lost:
    """Return what a placeholder stands for."""
    lost: Lost = object.__getattribute__(placeholder, "_ninelives_lost")
    return lost


def _class(lost: Lost) -> type | None:
    found: Any = None
    with suppress(ImportError, AttributeError):
        found = importlib.import_module(lost.about["module"])
        for name in lost.about["qualname"].split("."):
            found = getattr(found, name)
    return found if isinstance(found, type) else None


def is_placeholder(value: object) -> bool:
    """Tell whether a value stands for a lost one."""
    return type(value) is Placeholder


def for_a_loop(value: Any) -> Any:
    """Return what a loop goes over, made again if it was lost."""
    return lost_of(value).for_a_loop() if is_placeholder(value) else value


def resolve(value: Any) -> Any:
    """Return what a value stands for, looking into plain containers one level deep."""
    if is_placeholder(value):
        lost = lost_of(value)
        # What a loop goes over is made by the loop, from its beginning.
        return value if lost.about["what"] == "iterator" and not lost.made else lost.real()
    if type(value) in {list, tuple} and any(map(is_placeholder, value)):
        return type(value)(resolve(item) for item in value)
    if type(value) is dict and any(map(is_placeholder, value.values())):
        return {key: resolve(item) for key, item in value.items()}
    return value


class Registry:
    """The live values of this process."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._known: dict[int, tuple[Any, dict[str, Any]]] = {}
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
    def holds_unique(self) -> bool:
        """Whether something lives here that can never be made again."""
        return any(about["what"] == "other" for _, about in self._known.values())

    def add(self, value: Any, *, is_handle: bool = False) -> dict[str, Any]:
        """Remember a live value and return what is recorded of it."""
        cls = type(value)
        about = {
            "what": _what(cls, is_handle=is_handle),
            "type": type_name(cls),
            "name": class_name(cls),
            "module": cls.__module__,
            "qualname": cls.__qualname__,
            "repr": self._masks.text(_look(value)),
        }
        if isinstance(value, _FILES):
            self._describe_file(value, about)
        self._known[id(value)] = (self._hold(value), about)
        return about

    def _describe_file(self, value: Any, about: dict[str, Any]) -> None:
        with suppress(AttributeError, OSError, ValueError):
            name = value.name
            if isinstance(name, str):
                about["what"], about["file"] = "file", _file_state(value, name)

    def _hold(self, value: Any) -> Any:
        """Hold a value so that its id stays its own: weakly where that can be."""
        key, known = id(value), self._known
        try:
            return weakref.ref(value, lambda _: known.pop(key, None))
        except TypeError:
            return value

    def placeholder(self, lost: Lost) -> Placeholder:
        """Return what stands for a lost value."""
        self.has_placeholders = True
        return Placeholder(lost)

    def resolve(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arguments with the values that placeholders stand for."""
        return tuple(map(resolve, args)), {key: resolve(value) for key, value in kwargs.items()}


def _what(cls: type, *, is_handle: bool) -> str:
    if is_handle or calltable.is_handle(cls):
        return "handle"
    return "iterator" if hasattr(cls, "__next__") or hasattr(cls, "__anext__") else "other"


def _look(value: object) -> str:
    try:
        return repr(value)[:200]
    except Exception:
        return f"<{type_name(type(value))}>"


def is_file(value: object) -> bool:
    """Tell whether a value is an open file."""
    return isinstance(value, _FILES)


def position(value: Any) -> dict[str, Any] | None:
    """Flush a file and return where it stands, to be recorded with a step on it."""
    try:
        if not value.closed:
            value.flush()
        return _file_state(value, value.name)
    except (AttributeError, OSError, ValueError):
        return None


def moved(placeholder: Placeholder, state: dict[str, Any]) -> None:
    """Note where a file stood after a step that is replayed."""
    lost = lost_of(placeholder)
    if "file" in lost.about:
        lost.about["file"] = {**lost.about["file"], **state}


def _file_state(value: Any, name: str) -> dict[str, Any]:
    state = {
        "path": os.path.abspath(name),  # noqa: PTH100
        "mode": value.mode,
        "position": None if value.closed else value.tell(),
        "closed": value.closed,
    }
    if isinstance(value, io.TextIOWrapper):
        state |= {"encoding": value.encoding, "errors": value.errors}
    return state


def _reopen(state: Mapping[str, Any], step: str, seq: int) -> Any:
    """Open a file again without truncating it, where it stood."""
    mode = state["mode"].replace("w", "r+").replace("x", "r+").replace("++", "+")
    text = {key: state[key] for key in ("encoding", "errors") if key in state}
    try:
        file = open(state["path"], mode, **text)  # noqa: SIM115, PTH123
    except FileNotFoundError as error:
        raise LiveValueLost(
            f"{state['path']}, which step {step} (record {seq}) had opened, is gone: a session's "
            f"working directory "
            "does not survive its process; keep data in the store, or in a file service"
        ) from error
    if state["closed"]:
        file.close()
    elif state["position"] is not None and "a" not in mode:
        file.seek(state["position"])
    return file
