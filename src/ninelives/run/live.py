"""What stands for values that could not be recorded and were lost with their process.

On replay a step that returned one gives a `Placeholder`. It answers for the attributes that were recorded;
nothing is made again until a call that the journal cannot answer needs it: then a *handle* is made by the
same call, a *file* is opened again where it stood, and anything else is `LiveValueLost`.
"""

import functools
import importlib
import inspect
import pickle
import queue
import threading
import types
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

from ninelives.errors import LiveValueLost
from ninelives.run import calltable, files
from ninelives.run.digest import STANDS_FOR

_Function = types.FunctionType


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
    """

    #: Called before anything is made again; what checks code against a journal ends there (`run.check`).
    before_making: ClassVar[Callable[[], None]] = staticmethod(lambda: None)

    __slots__ = (
        "_fields", "_parts", "about", "entered", "made", "make", "on_made", "recorded", "reference", "repeat",
        "seq", "set", "stands", "step",
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
        self.stands: weakref.ref[Placeholder] | None = None
        self.entered: Lost | None = None
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
        """Note that a temporary directory was removed by its own process."""
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
        if name not in self._fields:
            self._fields[name] = pickle.loads(self.about["fields"][name])
        return self._fields[name]

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
        if lost.made:
            return getattr(lost.made[0], name)
        if lost.has(name):
            return lost.field(name)
        if name in lost.about.get("parts", ()) and lost.has_fresh(name):
            return lost.field(name)
        if name in lost.about.get("parts", ()):
            return standing_for(lost.part(name, lost.about["parts"][name]))
        return _of_the_class(self, lost, name)

    def __setattr__(self, name: str, value: object) -> None:
        lost = lost_of(self)
        if lost.made:
            setattr(lost.made[0], name, value)
        else:
            lost.set[name] = value

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> Any:
        lost = lost_of(self)
        return lost.made[0].__exit__(*error) if lost.made else None

    def __iter__(self) -> Any:
        return iter(lost_of(self).for_a_loop())

    def __next__(self) -> Any:
        return next(lost_of(self).real())

    def __getitem__(self, key: object) -> Any:
        return lost_of(self).real()[key]

    def __setitem__(self, key: object, value: object) -> None:
        lost_of(self).real()[key] = value

    def __delitem__(self, key: object) -> None:
        del lost_of(self).real()[key]

    def __contains__(self, item: object) -> bool:
        return item in lost_of(self).real()

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


def _of_the_class(placeholder: Placeholder, lost: Lost, name: str) -> Any:
    """Return an attribute that the value has from its class: a method, a property, a constant."""
    cls = _class(lost)
    if cls is None:
        return Method(placeholder, name)
    if lost.about["type"] == "tempfile._TemporaryFileWrapper" and name not in cls.__dict__:
        return _of_the_file(lost, name)
    found = inspect.getattr_static(cls, name, None)
    if isinstance(found, property) and found.fget is not None:
        with suppress(AttributeError):
            return found.fget(placeholder)
    elif isinstance(found, staticmethod | classmethod | str | int | float | bool | tuple):
        return getattr(cls, name)
    elif callable(found):
        return Method(placeholder, name, found)
    elif found is None and lost.about["what"] in {"iterator", "other"}:
        # The class looks it up in a part, as the pipe in what `os.popen` returns.
        looks_up = inspect.getattr_static(cls, "__getattr__", None)
        with suppress(AttributeError, LiveValueLost):
            if isinstance(looks_up, types.FunctionType):
                return looks_up(placeholder, name)
    return getattr(lost.real(), name)


def _of_the_file(lost: Lost, name: str) -> Any:
    """Return a method of the file in a temporary one, in a function around it as `tempfile` has it."""
    inner = _class(Lost(lost.about["parts"]["file"], lost.step, lost.seq, None))
    function = getattr(inner, name, None)
    if inner is None or not callable(function):
        return getattr(lost.real(), name)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(lost.real(), name)(*args, **kwargs)

    call.__qualname__ = f"{inner.__qualname__}.{name}"
    call.__module__ = None  # type: ignore[assignment]  # as that of a method written in C
    return call


class Method:
    """A method of a lost live value: a call of it is a step like any other."""

    __slots__ = ("_name", "_owner", "function")

    def __init__(self, owner: Placeholder, name: str, function: Any = None) -> None:
        self._owner = owner
        self._name = name
        self.function = function

    @property
    def __self__(self) -> Placeholder:
        """The receiver, as methods have it."""
        return self._owner

    @property
    def name(self) -> str:
        """The attribute's name."""
        return self._name

    @property
    def is_async(self) -> bool:
        """Whether what a call returns is awaited."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def step_name(self) -> str:
        """The name under which the step of a call is recorded."""
        lost = lost_of(self._owner)
        return f"{lost.about['name']}.{getattr(self.function, '__name__', self._name)}"

    @property
    def ends(self) -> bool:
        """Whether the method only ends what its process has ended by dying."""
        return self._name == "close" and lost_of(self._owner).has_ended

    def bound(self) -> Any:
        """Return the method as one of the class, bound to what stands for its receiver."""
        return types.MethodType(self.function, self._owner)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it, having made the value again."""
        if self.ends:
            return None
        return self._real()(*args, **kwargs)

    # What is no method after all: an attribute that could not be recorded.

    def __iter__(self) -> Any:
        return iter(self._real())

    def __getitem__(self, key: Any) -> Any:
        return self._real()[key]

    def __contains__(self, item: Any) -> bool:
        return item in self._real()

    def _real(self) -> Any:
        """Return the attribute of the value, which is made again.

        Raises:
            LiveValueLost: It cannot be.
        """
        return getattr(lost_of(self._owner).real(), self._name)


def enter_again(args: Sequence[Any]) -> None:
    """Have a lost context entered, as it was, before it is left.

    Raises:
        LiveValueLost: What entering it gave cannot be made again.
    """
    if args and is_placeholder(args[0]):
        lost = lost_of(args[0])
        if lost.entered is not None and not lost.made:
            lost.entered.real()


def lost_of(placeholder: Placeholder) -> Lost:
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


def standing_for(lost: Lost) -> Placeholder:
    """Return what stands for a lost value; the same one each time."""
    found = lost.stands() if lost.stands is not None else None
    if found is None:
        found = Placeholder(lost)
        lost.stands = weakref.ref(found)
    return found


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
